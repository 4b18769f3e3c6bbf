//! `make bench-cluster`: an ADD with a real API server in it, Plexus against Multus, interleaved in one run.
//!
//! Owns: the cluster of one node (tests/cluster), its objects, and what the API server's audit log says of each call. The calls themselves are
//! made on the node, by `measure`; what came of them is judged and printed by `report`.

mod measure;
mod report;

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::stats::Spread;
use super::{OURS, commit, machine};
use crate::shell::{self, capture, sh};
use crate::{binary, tools};
pub(crate) use measure::measure;
use measure::{Call, Chain, Measured, Plan, Pod};
pub(crate) use report::Results;
use report::{Requests, Row};

const MULTUS: &str = "Multus 4.3.0 + Go plugins";
/// The namespace of the pods and of the network, and of the service account of each chain: by that the audit log tells them apart.
const NAMESPACE: &str = "bench";
const NETWORK: &str = "macvlan-net";
const SERVER: &str = "https://10.99.0.1:6443";
/// The names of our binary on the node.
const NAMES: &[&str] = &["multus", "bridge", "macvlan", "flannel", "host-local"];
/// Pods of each chain that are attached before the clock runs.
const WARM_UP: usize = 3;

/// Brings a cluster up, measures on its node, takes it down, writes the results and prints them.
///
/// # Errors
/// If anything fails, or if a bound is missed.
pub(crate) fn run(rounds: usize, ours: Option<PathBuf>, save: bool) -> Result<()> {
    tools::root("the benchmark")?;
    tools::need(tools::BENCH)?;
    let go = tools::originals()?;
    let (built, commit) = match ours {
        // Of which nobody knows what it was made from.
        Some(file) => {
            (fs::canonicalize(&file).with_context(|| file.display().to_string())?, "unknown (--binary)".into())
        }
        None => (binary::build_for_kubernetes()?, commit()),
    };
    let folder = binary::root().join("target/bench");
    let ours = folder.join("ours-kubernetes");
    binary::link_as(&built, &ours, NAMES)?;
    let mut programs = vec![("plexus", OURS, ours)];
    match go.multus {
        Some(_) => programs.push(("multus", MULTUS, go.plugins)),
        None => eprintln!(
            "SKIPPED: the row of Multus: it is built from source, which needs Go; so no bound speaks of its speed"
        ),
    }
    let tool = binary::build_optimised_tool()?;

    let cluster = Cluster::up()?;
    let machine = machine(&cluster.state)?;
    let chains = prepare(&cluster, &programs, rounds)?;
    let plan = Plan { chains, warm_up: WARM_UP, out: folder.join("cluster-measured.json") };
    let file = folder.join("cluster-plan.json");
    fs::write(&file, serde_json::to_vec(&plan)?)?;
    shell::watch(cluster.script(&["exec", "1"]).arg(&tool).arg("bench-cluster-run").arg(&file))?;
    let measured: Measured = serde_json::from_slice(&fs::read(&plan.out)?)?;
    let audit = Audit::read(&cluster.state.join("log/audit.json"))?;
    let kubernetes = cluster.kubectl(&["version", "-o", "json"], "")?;
    let kubernetes: Value = serde_json::from_str(&kubernetes)?;

    let mut rows = Vec::new();
    for ((account, name, _), calls) in programs.iter().zip(&measured.chains) {
        let took = |calls: &[Call]| Spread::of(&calls.iter().map(|c| c.took).collect::<Vec<_>>());
        rows.push(Row {
            chain: (*name).into(),
            add: took(&calls.adds),
            del: took(&calls.dels),
            add_requests: audit.requests(account, &calls.adds)?,
            del_requests: audit.requests(account, &calls.dels)?,
        });
    }
    drop(cluster);
    let mut results = Results {
        date: sh("date +%F")?.trim().into(),
        commit,
        machine,
        kubernetes: kubernetes["serverVersion"]["gitVersion"].as_str().unwrap_or_default().into(),
        binary_bytes: fs::metadata(&built)?.len(),
        rows,
        verdicts: Vec::new(),
    };
    results.judge();
    println!("\n{}", results.table());
    if save {
        let file = binary::root().join("bench/results").join(results.file_name());
        fs::write(&file, serde_json::to_string_pretty(&results)? + "\n")?;
        println!("results: {}", file.display());
    }
    match results.verdicts.iter().filter(|v| !v.reached).count() {
        0 => Ok(()),
        n => bail!("{n} of {} bounds missed", results.verdicts.len()),
    }
}

/// A cluster of one node. It goes with the handle, or with this process when that is interrupted.
struct Cluster {
    script: PathBuf,
    state: PathBuf,
    /// Whether it is there, and ours. Locked while it comes or goes.
    up: Arc<Mutex<bool>>,
}

impl Cluster {
    fn up() -> Result<Cluster> {
        let dir = binary::root().join("tests/cluster");
        shell::watch(&mut Command::new(dir.join("build.sh")))
            .context("without Go this benchmark needs the Kubernetes that an earlier run has built")?;
        let state = std::env::var_os("CLUSTER").map_or("/var/tmp/plexus-cluster".into(), PathBuf::from);
        let cluster = Cluster { script: dir.join("cluster.sh"), state, up: Arc::default() };
        let mut up = lock(&cluster.up);
        cluster.ends_when_interrupted()?;
        // One that is up already is not ours to end: this fails, and ends nothing. Interrupted, the script removes what it has begun.
        shell::watch(&mut cluster.script(&["up"]))?;
        *up = true;
        drop(up);
        Ok(cluster)
    }

    /// From here on a signal takes the cluster down before it ends this process.
    fn ends_when_interrupted(&self) -> Result<()> {
        let (mut signalled, signal) = UnixStream::pair()?;
        for number in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::low_level::pipe::register(number, signal.try_clone()?)?;
        }
        let cluster = Cluster { script: self.script.clone(), state: self.state.clone(), up: Arc::clone(&self.up) };
        std::thread::spawn(move || {
            if signalled.read_exact(&mut [0]).is_ok() {
                drop(cluster);
                std::process::exit(130);
            }
        });
        Ok(())
    }

    fn script(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.script);
        command.args(arguments).env("NODES", "1").env("CLUSTER", &self.state);
        command
    }

    /// `kubectl`, as the cluster's administrator.
    fn kubectl(&self, arguments: &[&str], stdin: &str) -> Result<String> {
        let mut command = Command::new("bash");
        command.args(["-c", r#"eval "$("$0" env)"; exec kubectl "$@""#]).arg(&self.script).args(arguments);
        command.env("CLUSTER", &self.state).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        std::io::Write::write_all(&mut child.stdin.take().context("kubectl's input")?, stdin.as_bytes())?;
        let out = child.wait_with_output()?;
        shell::succeeded(&format!("kubectl {}", arguments.join(" ")), &out)?;
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    fn create(&self, objects: Vec<Value>) -> Result<()> {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        self.kubectl(&["create", "-f", "-"], &list.to_string()).map(drop)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut up = lock(&self.up);
        if !std::mem::take(&mut *up) {
            return;
        }
        // In a process group of its own: a second Ctrl-C does not reach it.
        if let Err(e) = shell::watch(self.script(&["down"]).process_group(0)) {
            eprintln!("{e:#}");
        }
    }
}

/// A panic elsewhere is no reason to leave a cluster up.
fn lock(up: &Mutex<bool>) -> MutexGuard<'_, bool> {
    up.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes the network, the service accounts with their kubeconfigs, and the pods.
fn prepare(cluster: &Cluster, programs: &[(&str, &'static str, PathBuf)], rounds: usize) -> Result<Vec<Chain>> {
    capture(&mut cluster.script(&["flannel"]))?;
    let crd = binary::root().join("deploy/base/crd.yaml");
    cluster.kubectl(&["create", "-f", &crd.display().to_string()], "")?;
    cluster.kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd", "--all"], "")?;
    cluster.kubectl(&["create", "namespace", NAMESPACE], "")?;
    let config = json!({"cniVersion": "0.3.1", "name": NETWORK, "type": "macvlan", "master": "eth0", "mode": "bridge",
        "ipam": {"type": "host-local", "subnet": "10.98.0.0/16"}});
    // What both together ask for: the same rights, so that nothing but the program differs.
    let rules = json!([
        {"apiGroups": ["k8s.cni.cncf.io"], "resources": ["network-attachment-definitions"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["pods", "pods/status"], "verbs": ["get", "update", "patch"]},
        {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "update", "patch"]},
    ]);
    let subjects: Vec<Value> =
        programs.iter().map(|p| json!({"kind": "ServiceAccount", "namespace": NAMESPACE, "name": p.0})).collect();
    let rbac = "rbac.authorization.k8s.io";
    let mut objects = vec![
        json!({"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
            "metadata": {"namespace": NAMESPACE, "name": NETWORK}, "spec": {"config": config.to_string()}}),
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": {"namespace": NAMESPACE, "name": "cni"}, "rules": rules}),
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": {"namespace": NAMESPACE, "name": "cni"},
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "cni"}, "subjects": subjects}),
    ];
    objects.extend(programs.iter().map(
        |p| json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": NAMESPACE, "name": p.0}}),
    ));
    cluster.create(objects)?;

    let mut chains = Vec::new();
    for (account, name, dir) in programs {
        let kubeconfig = kubeconfig(cluster, account)?;
        let pods = pods(cluster, account, rounds + WARM_UP)?;
        chains.push(Chain { name: (*name).into(), dir: dir.clone(), kubeconfig, namespace: NAMESPACE.into(), pods });
    }
    Ok(chains)
}

/// In the form of the installer, a token and the authority inside, in a folder of the node.
fn kubeconfig(cluster: &Cluster, account: &str) -> Result<PathBuf> {
    let token = cluster.kubectl(&["-n", NAMESPACE, "create", "token", account, "--duration=2h"], "")?;
    let authority = capture(Command::new("base64").arg("-w0").arg(cluster.state.join("pki/ca.crt")))?;
    let text = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "k", "cluster": {"server": SERVER, "certificate-authority-data": authority.trim()}}],
        "users": [{"name": "u", "user": {"token": token.trim()}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}]});
    let name = format!("{account}.kubeconfig");
    fs::write(cluster.state.join("n1/etc-cni").join(&name), serde_json::to_string_pretty(&text)?)?;
    Ok(Path::new("/etc/cni").join(name))
}

/// Pods that ask for the network, and that no scheduler takes: their sandboxes are the harness's.
fn pods(cluster: &Cluster, account: &str, count: usize) -> Result<Vec<Pod>> {
    let pod = |i| {
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": NAMESPACE, "name": format!("{account}-{i}"), "labels": {"of": account}, "annotations": {"k8s.v1.cni.cncf.io/networks": NETWORK}},
            "spec": {"schedulerName": "nobody", "containers": [{"name": "app", "image": "busybox"}]}})
    };
    #[derive(Deserialize)]
    struct List {
        items: Vec<Made>,
    }
    #[derive(Deserialize)]
    struct Made {
        metadata: Pod,
    }
    cluster.create((0..count).map(pod).collect())?;
    let made = cluster.kubectl(&["-n", NAMESPACE, "get", "pods", "-l", &format!("of={account}"), "-o", "json"], "")?;
    let made: List = serde_json::from_str(&made)?;
    ensure!(made.items.len() == count, "the API server has {} of {count} pods", made.items.len());
    Ok(made.items.into_iter().map(|m| m.metadata).collect())
}

/// The API server's own record of who asked for what, and when.
struct Audit(Vec<Entry>);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    user: User,
    verb: String,
    object_ref: Option<Object>,
    response_status: Option<Status>,
    /// `2026-11-24T10:00:00.000000Z`, always this long: as text it sorts by time.
    request_received_timestamp: String,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct Object {
    resource: String,
    subresource: Option<String>,
}

#[derive(Deserialize)]
struct Status {
    code: u16,
}

impl Audit {
    fn read(file: &Path) -> Result<Audit> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let entries: Result<_, _> = text.lines().map(serde_json::from_str).collect();
        Ok(Audit(entries.context("the audit log")?))
    }

    /// What this service account asked during these calls.
    fn requests(&self, account: &str, calls: &[Call]) -> Result<Requests> {
        let user = format!("system:serviceaccount:{NAMESPACE}:{account}");
        let ours: Vec<&Entry> = self.0.iter().filter(|e| e.user.username == user).collect();
        let mut requests = Requests::default();
        for call in calls {
            let during = ours
                .iter()
                .filter(|e| call.start <= e.request_received_timestamp && e.request_received_timestamp <= call.end);
            let (mut asked, mut events) = (0, 0);
            for entry in during {
                let object = entry.object_ref.as_ref().context("a request for no object in the audit log")?;
                let of = object.subresource.as_ref().map_or(String::new(), |s| format!("/{s}"));
                let what = format!("{} {}{of}", entry.verb, object.resource);
                let code = entry.response_status.as_ref().map_or(0, |s| s.code);
                // Multus's events may come after its end, or fail: they are counted as they are.
                let events_too = object.resource == "events";
                ensure!(events_too || (200..300).contains(&code), "{account}: {what} was answered with {code}");
                if object.resource == "events" {
                    events += 1
                } else {
                    asked += 1
                };
                *requests.which.entry(what).or_default() += 1;
            }
            requests.calls += 1;
            requests.most = requests.most.max(asked);
            requests.events += events;
            requests.asked += asked;
        }
        Ok(requests)
    }
}
