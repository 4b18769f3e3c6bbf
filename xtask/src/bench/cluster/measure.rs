//! On the node: the CNI calls, as containerd would make them, in network namespaces of our own.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use testkit::Namespace;

use crate::bench::SETTLE;
use crate::runtime::{self, Attachment};

/// What is to be measured.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Plan {
    pub(super) chains: Vec<Chain>,
    /// How many pods of each chain are not counted.
    pub(super) warm_up: usize,
    /// File for [`Measured`].
    pub(super) out: PathBuf,
}

/// A meta-plugin with the plugins beside it.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Chain {
    pub(super) name: String,
    pub(super) dir: PathBuf,
    pub(super) kubeconfig: PathBuf,
    pub(super) namespace: String,
    pub(super) pods: Vec<Pod>,
}

/// A pod that the API server has.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Pod {
    name: String,
    uid: String,
}

/// What came of it.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Measured {
    pub(super) chains: Vec<Calls>,
}

/// The calls of one chain.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Calls {
    pub(super) adds: Vec<Call>,
    pub(super) dels: Vec<Call>,
}

/// One call.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Call {
    /// From before the process was started until it had ended.
    pub(super) took: Duration,
    /// By the clock that the API server has, in the form of its audit log.
    pub(super) start: String,
    pub(super) end: String,
}

/// The measuring process, on the node.
///
/// # Errors
/// If any call fails.
pub(crate) fn measure(plan: &Path) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let plan: Plan = serde_json::from_slice(&fs::read(plan)?)?;
    let count = plan.chains.first().map_or(0, |c| c.pods.len());
    ensure!(plan.chains.iter().all(|c| c.pods.len() == count), "not the same number of pods for each chain");
    let mut measured = Measured { chains: plan.chains.iter().map(|_| Calls::default()).collect() };
    // Namespaces stay until the end: tearing them down meanwhile would disturb what is measured.
    let mut kept = Vec::new();
    for round in 0..count {
        if round % 20 == 0 {
            eprintln!("  one at a time: round {round} of {count}");
        }
        let pods: Vec<Namespace> = plan.chains.iter().map(|_| Namespace::new()).collect();
        pods.iter().for_each(|p| _ = p.sh("ip link set lo up"));
        let order: Vec<usize> = (0..plan.chains.len()).map(|i| (i + round) % plan.chains.len()).collect();
        for verb in ["ADD", "DEL"] {
            for &i in &order {
                std::thread::sleep(SETTLE);
                let call = call(&plan.chains[i], round, &pods[i], verb)?;
                if round >= plan.warm_up {
                    let calls = &mut measured.chains[i];
                    if verb == "ADD" { calls.adds.push(call) } else { calls.dels.push(call) }
                }
            }
        }
        kept.extend(pods);
    }
    fs::write(&plan.out, serde_json::to_vec(&measured)?).with_context(|| plan.out.display().to_string())
}

fn call(chain: &Chain, round: usize, netns: &Namespace, verb: &str) -> Result<Call> {
    let pod = &chain.pods[round];
    let attachment = Attachment {
        id: format!("{}{round:08}", pod.uid.replace('-', "")),
        netns: netns.path(),
        ifname: "eth0".into(),
        args: format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};K8S_POD_INFRA_CONTAINER_ID=x;K8S_POD_UID={}",
            chain.namespace, pod.name, pod.uid
        ),
    };
    let now = || humantime::format_rfc3339_micros(SystemTime::now()).to_string();
    let start = now();
    let answer = runtime::call(&chain.dir, "multus", verb, &attachment, conf(chain).to_string().as_bytes())?;
    let call = Call { took: answer.took, start, end: now() };
    if verb == "ADD" {
        // Both networks, or what was measured is something else.
        let links = netns.sh("ip -o -4 addr");
        ensure!(
            links.contains("eth0") && links.contains("net1"),
            "{} of {} did not attach both networks: {links}",
            verb,
            chain.name
        );
    }
    Ok(call)
}

/// flannel is the default network; macvlan comes from the annotation.
fn conf(chain: &Chain) -> Value {
    json!({"cniVersion": "0.3.1", "name": "bench", "type": "multus", "kubeconfig": chain.kubeconfig,
        "delegates": [{"cniVersion": "0.3.1", "name": "flannel-net", "type": "flannel", "delegate": {"isDefaultGateway": true}}]})
}
