# shellcheck shell=bash disable=SC2034 # the other parts use the variables
# The images of the test pods: nothing can be pulled.

IMAGES=(busybox nginx pause)

# busybox with all applets, a web server under nginx's name that thanks as nginx does, and the pause container.
images() {
    local dir=$CLUSTER/img applet
    mkdir -p "$dir"/box/{bin,etc,tmp,proc,sys,root,www,var/run} "$dir/pause"
    cp "$(command -v busybox)" "$dir/box/bin/busybox"
    for applet in $("$dir/box/bin/busybox" --list); do
        [[ $applet == busybox ]] || ln -sf busybox "$dir/box/bin/$applet"
    done
    echo '<p><em>Thank you for using nginx.</em></p>' >"$dir/box/www/index.html"
    gcc -static -O2 -o "$dir/pause/pause" "$HERE/pause.c"
    python3 "$HERE/mkimage.py" docker.io/library/busybox:latest "$dir/box" "$dir/busybox.tar" /bin/sh
    python3 "$HERE/mkimage.py" docker.io/library/nginx:latest "$dir/box" "$dir/nginx.tar" /bin/httpd -f -p 80 -h /www
    python3 "$HERE/mkimage.py" registry.local/pause:1 "$dir/pause" "$dir/pause.tar" /pause
}

# import NODE ARCHIVE...
import() {
    local node=$1 archive
    shift
    for archive in "$@"; do
        on "$node" ctr -n k8s.io images import "$archive" >/dev/null 2>&1 || die "node$node: cannot import $archive"
    done
}
