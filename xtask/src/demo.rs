//! `make demo`: the article's story, told by the real binary in a small world of network namespaces, with proof of what it says.
//!
//! Three processes: the one the user started (prepares, compares the machine before and after), the story in namespaces of its own,
//! and the pods' web servers. Only the kernel removes the world: it goes with the last process in it, so Ctrl-C needs no handler.

mod pages;
mod picture;
mod snapshot;
mod world;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::runtime::{self, Attachment};
use crate::shell::{self, sh};
use crate::{binary, term, tools};
use picture::{Picture, Pod};
use snapshot::Snapshot;

pub(crate) use pages::serve as pages;

/// The configuration of the article, to the letter.
const ARTICLE: &str = r#"{ "name": "multus-demo", "type": "multus",
  "delegates": [
    { "type": "macvlan", "master": "eth0", "mode": "bridge",
      "ipam": { "type": "host-local", "subnet": "192.168.122.0/24", "rangeStart": "192.168.122.200", "rangeEnd": "192.168.122.216",
                "routes": [ { "dst": "0.0.0.0/0" } ], "gateway": "192.168.122.1" } },
    { "type": "flannel", "masterplugin": true, "delegate": { "isDefaultGateway": true } } ] }
"#;
/// What runtimes give a pod before its network.
const LOOPBACK: &str = r#"{ "cniVersion": "0.3.1", "name": "cni-loopback", "type": "loopback" }"#;
const PODS: [&str; 2] = ["pod-a", "pod-b"];
/// Where CNI plugins keep things on a machine.
const MACHINE: &[&str] = &["/run/netns", "/run/flannel", "/run/cni", "/var/lib/cni", "/etc/cni", "/opt/cni"];
/// Where the world keeps the state before the story, until its end.
const BEFORE: &str = "/run/plexus-demo-before.json";

/// What the processes of one demo tell each other.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Story {
    /// Directory with the plugins.
    #[arg(long)]
    plugins: PathBuf,
    /// File for the namespaces' identities.
    #[arg(long)]
    namespaces: PathBuf,
    /// File for the id of the process that keeps the world up; absent where it is not to be kept.
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// The whole demo.
///
/// # Errors
/// With what went wrong: a failed step, an unanswered ping or request, anything left behind.
pub(crate) fn run(keep: bool, plugins: Option<PathBuf>) -> Result<()> {
    tools::root("the demo")?;
    println!("{}", term::bold("Plexus: one binary gives a pod lo, eth0 from flannel and net0 from macvlan"));
    term::heading("Prepare");
    let folder = folder()?;
    if folder.join("kept").exists() {
        bail!("a world of an earlier demo is still up: make demo-clean removes it");
    }
    tools::need(tools::DEMO)?;
    let plugins = match plugins {
        Some(dir) => fs::canonicalize(&dir).with_context(|| format!("no such directory: {}", dir.display()))?,
        None => term::step("build", || {
            let binary = binary::build()?;
            let size = fs::metadata(&binary)?.len() as f64 / 1e6;
            let dir = folder.join("bin");
            binary::link_as(&binary, &dir, &["multus", "loopback"])?;
            Ok((dir, format!("built one static binary of {size:.1} MB; multus and loopback are links to it")))
        })?,
    };
    let before = Snapshot::take(MACHINE)?;
    let story = Story { plugins, namespaces: folder.join("namespaces"), keep: keep.then(|| folder.join("kept")) };
    let mut inside = Command::new("unshare");
    inside.args(["--mount", "--net", "--propagation", "private", "--"]).arg(std::env::current_exe()?).arg("demo-world");
    let told = inside.args(arguments(&story)).status().context("cannot run unshare")?.success();
    if keep && story.keep.as_ref().is_some_and(|f| f.exists()) {
        return if told { Ok(()) } else { bail!("the story did not go well; its world is still up") };
    }
    let clean = machine_is_clean(&before, &story);
    if !told {
        bail!("the story did not go well (see above)");
    }
    clean?;
    println!("\n{}", term::green(term::bold("Everything worked, and nothing is left.")));
    Ok(())
}

/// Removes a kept world.
///
/// # Errors
/// If there is none, or if something is left.
pub(crate) fn clean() -> Result<()> {
    let folder = folder()?;
    let kept = folder.join("kept");
    let text = fs::read_to_string(&kept).context("no world is up: make demo KEEP=1 makes one")?;
    let pid: u32 = text.trim().parse().with_context(|| format!("{} holds no process id", kept.display()))?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    if !String::from_utf8_lossy(&command).contains("demo-pages") {
        fs::remove_file(&kept)?;
        bail!("process {pid}, which kept the world up, is gone and the world with it");
    }
    let before = Snapshot::take(MACHINE)?;
    let plugins = fs::read_to_string(folder.join("plugins")).context("the kept world's plugins")?;
    let story = Story { plugins: plugins.into(), namespaces: folder.join("namespaces"), keep: Some(kept.clone()) };
    let pid = pid.to_string();
    let mut inside = Command::new("nsenter");
    inside.args(["--target", &pid, "--mount", "--net", "--"]).arg(std::env::current_exe()?).arg("demo-end");
    let told = inside.args(arguments(&story)).status().context("cannot run nsenter")?.success();
    let _ = shell::capture(Command::new("kill").arg(&pid));
    for file in [kept, folder.join("plugins")] {
        fs::remove_file(file)?;
    }
    let clean = machine_is_clean(&before, &story);
    if !told {
        bail!("the end did not go well (see above)");
    }
    clean
}

/// The story, inside its namespaces.
///
/// # Errors
/// With everything that went wrong.
pub(crate) fn world(story: &Story) -> Result<()> {
    if story.keep.is_none() {
        // The world must not outlive the process that the user sees, whatever ends that one.
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    }
    term::heading("The world");
    term::step("make a host with eth0, and another machine on its network", || {
        world::make()?;
        Ok(((), "made a host with eth0, and another machine on its network".into()))
    })?;
    fs::write(BEFORE, serde_json::to_vec(&Snapshot::take(world::STATE)?)?)?;
    let mut wrong = Vec::new();
    match attach(story).and_then(|()| note_namespaces(story)) {
        Err(error) => wrong.push(format!("{error:#}")),
        Ok(()) => {
            let pages = show(&mut wrong)?;
            if let Some(kept) = &story.keep {
                let pid = pages.keep()?;
                fs::write(kept, pid.to_string())?;
                fs::write(kept.with_file_name("plugins"), story.plugins.display().to_string())?;
                say_how_to_look(pid);
                return verdict(wrong);
            }
        }
    }
    if let Err(error) = end(story) {
        wrong.push(format!("{error:#}"));
    }
    verdict(wrong)
}

fn verdict(wrong: Vec<String>) -> Result<()> {
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("{}", wrong.join("\n       "))
}

fn attach(story: &Story) -> Result<()> {
    term::heading("A runtime attaches two pods: loopback, then multus with the article's configuration");
    term::output(&term::dim(ARTICLE.trim_end()));
    for pod in PODS {
        world::add_pod(pod)?;
        call(story, "loopback", "ADD", pod, "lo", LOOPBACK)?;
        let answer = call(story, "multus", "ADD", pod, "eth0", ARTICLE)?;
        let result: Value = serde_json::from_str(&answer).context("multus ADD printed no JSON")?;
        println!("    {}", term::dim(&result));
    }
    Ok(())
}

fn note_namespaces(story: &Story) -> Result<()> {
    let list: Vec<String> = world::namespaces()?.iter().map(u64::to_string).collect();
    Ok(fs::write(&story.namespaces, list.join("\n"))?)
}

fn call(story: &Story, plugin: &str, verb: &str, pod: &str, ifname: &str, conf: &str) -> Result<String> {
    let attachment = Attachment {
        id: format!("plexus-demo-{pod}"),
        netns: Path::new("/run/netns").join(pod),
        ifname: ifname.into(),
        args: format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod};K8S_POD_INFRA_CONTAINER_ID=plexus-demo-{pod}"
        ),
    };
    match runtime::call(&story.plugins, plugin, verb, &attachment, conf.as_bytes()) {
        Ok(answer) => {
            term::done(format!("{pod}: {plugin} {verb}"), answer.took);
            term::output(&term::dim(&answer.stderr));
            Ok(answer.stdout)
        }
        Err(error) => {
            term::failed(format!("{pod}: {plugin} {verb}"), Duration::ZERO);
            Err(error)
        }
    }
}

/// Shows what the article shows; what fails goes to `wrong`.
fn show(wrong: &mut Vec<String>) -> Result<pages::Pages> {
    let [a, b] = PODS;
    term::heading("What the pods have");
    let addr = "ip addr";
    term::prompt(a, addr);
    term::output(&sh(&format!("ip netns exec {a} {addr}"))?);
    term::prompt(a, "ip route");
    term::output(&sh(&format!("ip netns exec {a} ip route"))?);
    let pods = [look(a, wrong)?, look(b, wrong)?];
    let pages = pages::Pages::start(&PODS)?;

    let bare = |address: &str| address.split('/').next().unwrap_or_default().to_owned();
    for (title, from, to) in [
        ("Pod to pod over eth0, through cni0", a, &pods[1].eth0),
        ("From outside to a pod over net0, past the host", world::OUTSIDE, &pods[0].net0),
    ] {
        term::heading(title);
        attempt(from, &format!("ping -c 2 -i 0.2 -W 2 {}", bare(to)), ", 0% packet loss", wrong);
        attempt(from, &format!("curl --silent --max-time 5 http://{}/", bare(to)), "Thank you for using Plexus", wrong);
    }

    term::heading("The picture");
    let host = |link: &str| address("", link).map(Option::unwrap_or_default);
    let outside = address(&format!("-n {}", world::OUTSIDE), "eth0")?.unwrap_or_default();
    println!("{}", picture::draw(&Picture { outside, parent: host("eth0")?, bridge: host("cni0")?, pods }));
    Ok(pages)
}

/// Looks at a pod with `ip -j` and checks it against the article.
fn look(pod: &str, wrong: &mut Vec<String>) -> Result<Pod> {
    let within = format!("-n {pod}");
    let mut expect = |what: &str, true_: bool| {
        if !true_ {
            wrong.push(format!("{pod}: {what}"));
        }
    };
    let eth0 = address(&within, "eth0")?.unwrap_or_default();
    let net0 = address(&within, "net0")?.unwrap_or_default();
    expect("lo has no 127.0.0.1/8", address(&within, "lo")?.as_deref() == Some("127.0.0.1/8"));
    expect("eth0 has no address of flannel's 10.244.1.0/24", eth0.starts_with("10.244.1.") && eth0.ends_with("/24"));
    expect("net0 has no address of 192.168.122.200-216/24", net0.starts_with("192.168.122.2") && net0.ends_with("/24"));
    let links: Value = serde_json::from_str(&sh(&format!("ip {within} -j link show eth0"))?)?;
    expect("eth0's MTU is not flannel's 1450", links[0]["mtu"] == 1450);
    let routes: Value = serde_json::from_str(&sh(&format!("ip {within} -j route"))?)?;
    let routes: Vec<&Value> = routes.as_array().into_iter().flatten().collect();
    let to = |dst: &str| routes.iter().filter(|r| r["dst"] == dst).map(|r| r["dev"].as_str()).collect::<Vec<_>>();
    expect("the default route is not flannel's alone", to("default") == [Some("eth0")]);
    expect("the flannel network has no route by eth0", to("10.244.0.0/16") == [Some("eth0")]);
    Ok(Pod { name: pod.into(), eth0, net0 })
}

/// The first IPv4 address of a link with its prefix length; `within` is an option of `ip` that selects a namespace.
fn address(within: &str, link: &str) -> Result<Option<String>> {
    let links: Value = serde_json::from_str(&sh(&format!("ip {within} -j -4 addr show dev {link}"))?)?;
    let info = &links[0]["addr_info"][0];
    Ok(info["local"].as_str().map(|local| format!("{local}/{}", info["prefixlen"])))
}

/// Runs a command in a namespace, shows it, and demands `wanted` in its output.
fn attempt(place: &str, command: &str, wanted: &str, wrong: &mut Vec<String>) {
    term::prompt(place, command);
    let start = Instant::now();
    let answer = sh(&format!("ip netns exec {place} {command}"));
    let took = start.elapsed();
    let complaint = match answer {
        Ok(text) => {
            term::output(&text);
            if text.contains(wanted) {
                return term::done(format!("answered: {}", wanted.trim_start_matches(", ")), took);
            }
            format!("no \"{wanted}\" in the answer")
        }
        Err(error) => format!("{error:#}"),
    };
    term::failed(&complaint, took);
    wrong.push(format!("{place}: {command}: {complaint}"));
}

fn say_how_to_look(pid: u32) {
    term::heading("The world stays up");
    let here = format!("nsenter -t {pid} -m -n");
    println!("  a pod          {here} ip netns exec {} ip addr", PODS[0]);
    println!("  the host       {here} ip -d link");
    println!("  from outside   {here} ip netns exec {} curl -s http://192.168.122.200/", world::OUTSIDE);
    println!("  what is kept   {here} find /var/lib/cni -type f");
    println!("  a shell there  {here} bash");
    println!("  remove it all  make demo-clean");
}

/// DEL of both pods, the removal of their namespaces, and what is left of them: nothing.
///
/// # Errors
/// With everything that went wrong.
pub(crate) fn end(story: &Story) -> Result<()> {
    term::heading("The runtime removes the pods");
    let mut wrong = Vec::new();
    let mut note = |done: Result<()>| {
        if let Err(error) = done {
            wrong.push(format!("{error:#}"));
        }
    };
    for pod in PODS.into_iter().filter(|pod| Path::new("/run/netns").join(pod).exists()) {
        note(call(story, "multus", "DEL", pod, "eth0", ARTICLE).map(drop));
        note(call(story, "loopback", "DEL", pod, "lo", LOOPBACK).map(drop));
        note(only_lo(pod));
        note(world::remove_pod(pod));
    }
    term::heading("What is left in the host");
    let before: Snapshot = serde_json::from_slice(&fs::read(BEFORE)?)?;
    fs::remove_file(BEFORE)?;
    let after = Snapshot::take(world::STATE)?;
    let mut staying: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
    for (kind, sign, thing) in before.differences(&after) {
        match (sign, by_design(&thing)) {
            ('+', Some(reason)) => *staying.entry(reason).or_default().entry(kind).or_default() += 1,
            _ => {
                term::failed(format!("{kind}: {sign} {thing}"), Duration::ZERO);
                wrong.push(format!("left behind: {kind}: {sign} {thing}"));
            }
        }
    }
    for (reason, kinds) in &staying {
        let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
        println!("  {} {reason} {}", term::dim("·"), term::dim(format!("({})", kinds.join(", "))));
    }
    if wrong.is_empty() {
        println!("  {} nothing of the pods: {}", term::green("✓"), term::dim(after.count()));
    }
    verdict(wrong)
}

fn only_lo(pod: &str) -> Result<()> {
    let links: Vec<Value> = serde_json::from_str(&sh(&format!("ip -n {pod} -j link"))?)?;
    let names: Vec<&str> = links.iter().filter_map(|l| l["ifname"].as_str()).collect();
    if names != ["lo"] {
        bail!("{pod} still has links after DEL: {}", names.join(", "));
    }
    Ok(())
}

/// Why a thing stays after DEL, if it is one that stays: what belongs to no pod.
fn by_design(thing: &str) -> Option<&'static str> {
    let bridge = thing == "cni0" || thing.contains(" dev cni0 ") || thing.starts_with("cni0 ");
    let range = ["/last_reserved_ip.0", "/lock", "/.plexus-index"].iter().any(|name| thing.ends_with(name));
    let folder = thing.starts_with("/var/lib/cni") && Path::new(thing).is_dir() && !thing.contains("plexus-demo-");
    match (bridge, range, folder) {
        (true, ..) => Some("stays: cni0, which waits for the next pod"),
        (_, true, _) => Some("stays: host-local's lock, index and last address of each range"),
        (.., true) => Some("stays: empty folders"),
        _ => None,
    }
}

/// Compares the machine with how it was, and looks for the world's namespaces.
fn machine_is_clean(before: &Snapshot, story: &Story) -> Result<()> {
    term::heading("What is left on this machine");
    let start = Instant::now();
    let ours: Vec<u64> =
        fs::read_to_string(&story.namespaces).unwrap_or_default().lines().filter_map(|l| l.parse().ok()).collect();
    // The kernel takes namespaces down in the background: their last process has ended, but may not be gone from /proc yet.
    while start.elapsed() < Duration::from_secs(5) && alive(&ours) > 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    let after = Snapshot::take(MACHINE)?;
    let mut wrong: Vec<String> =
        before.differences(&after).into_iter().map(|(kind, sign, thing)| format!("{kind}: {sign} {thing}")).collect();
    if alive(&ours) > 0 {
        wrong.push("processes in the world's network namespaces".into());
    }
    if wrong.is_empty() {
        term::done("nothing: the same before and after, and the world's namespaces are gone", start.elapsed());
        println!("    {}", term::dim(after.count()));
        let _ = fs::remove_file(&story.namespaces);
        return Ok(());
    }
    for thing in &wrong {
        term::failed(thing, start.elapsed());
    }
    bail!("the machine is not as it was before:\n       {}", wrong.join("\n       "))
}

/// How many processes are in one of these network namespaces.
fn alive(namespaces: &[u64]) -> usize {
    use std::os::unix::fs::MetadataExt;
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let inode = |p: &fs::DirEntry| fs::metadata(p.path().join("ns/net")).map(|m| m.ino()).ok();
    processes.filter_map(|p| inode(&p)).filter(|i| namespaces.contains(i)).count()
}

/// Where the demo keeps its own files, in the build's folder.
fn folder() -> Result<PathBuf> {
    let folder = binary::root().join("target/demo");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

fn arguments(story: &Story) -> Vec<PathBuf> {
    let mut arguments =
        vec!["--plugins".into(), story.plugins.clone(), "--namespaces".into(), story.namespaces.clone()];
    if let Some(keep) = &story.keep {
        arguments.extend(["--keep".into(), keep.clone()]);
    }
    arguments
}
