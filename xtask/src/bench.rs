//! `make bench`: Plexus, the Go originals and the kernel floor, interleaved in one run.

mod chain;
mod chart;
pub(crate) mod cluster;
mod counts;
mod floor;
mod hostlocal;
mod report;
mod stats;
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::shell::{self, sh};
use crate::{binary, tools};
use chain::{Chain, Kind, Pod};
use floor::Floor;
use report::{FLOOR, Machine, OURS, Parallel, Results, Serial};
use stats::Spread;
use world::Share;

/// How much is measured, and beside what.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Size {
    /// Pods of each chain, one at a time.
    #[arg(long, default_value_t = 200)]
    rounds: usize,
    /// Blocks of 64 pods of each chain, 8 at a time.
    #[arg(long, default_value_t = 3)]
    blocks: usize,
    /// ADDs of host-local alone, of each program and case.
    #[arg(long, default_value_t = 50)]
    host_local: usize,
    /// A directory with the plugins of another build (`multus` and `host-local`), measured in the same run: what a change is worth.
    #[arg(long, value_name = "DIR")]
    against: Option<PathBuf>,
}

/// What the measuring process is told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Plan {
    #[command(flatten)]
    size: Size,
    /// Directory with our plugins.
    #[arg(long)]
    ours: PathBuf,
    /// Directory with the Go plugins, and their version.
    #[arg(long)]
    go: PathBuf,
    #[arg(long)]
    go_version: String,
    /// The disk of the run, a filesystem in a file, and where it is mounted.
    #[arg(long)]
    disk: PathBuf,
    #[arg(long)]
    state: PathBuf,
    /// File for the results.
    #[arg(long)]
    out: PathBuf,
}

const THREADS: usize = 8;
const BLOCK: usize = 64;
/// Between two measurements: what the kernel left to its workers (announcements, frees) is not to fall into the next one.
const SETTLE: Duration = Duration::from_millis(3);
/// After pods were removed.
const CLEARED: Duration = Duration::from_secs(2);
/// Our plugin directory's names.
const NAMES: &[&str] = &["multus", "bridge", "macvlan", "flannel", "host-local", "static", "loopback"];

/// Prepares, measures in namespaces of its own, writes the results and prints them.
///
/// # Errors
/// If anything fails, or if a bound is missed.
pub(crate) fn run(size: &Size, plugins: Option<PathBuf>, save: bool) -> Result<()> {
    tools::root("the benchmark")?;
    tools::need(tools::BENCH)?;
    let go = tools::originals()?;
    let folder = binary::root().join("target/bench");
    let ours = folder.join("ours");
    let (ours, bytes) = match plugins {
        Some(dir) => {
            let dir = fs::canonicalize(dir)?;
            let bytes = fs::metadata(dir.join("multus"))?.len();
            (dir, bytes)
        }
        None => {
            let built = binary::build()?;
            binary::link_as(&built, &ours, NAMES)?;
            (ours, fs::metadata(&built)?.len())
        }
    };
    let state = folder.join("state");
    fs::create_dir_all(&state)?;
    let disk = world::disk(&folder)?;
    let mut machine = machine(&state)?;
    machine.filesystem = format!("ext4 with a journal, in a file on {}", machine.filesystem);
    let out = folder.join("results.json");
    let mut inside = Command::new("unshare");
    inside
        .args(["--mount", "--net", "--propagation", "private", "--"])
        .arg(binary::build_optimised_tool()?)
        .arg("bench-run");
    inside.args([format!("--rounds={}", size.rounds), format!("--blocks={}", size.blocks)]);
    inside.args([format!("--host-local={}", size.host_local), format!("--go-version={}", go.version)]);
    if let Some(dir) = &size.against {
        inside.arg("--against").arg(fs::canonicalize(dir)?);
    }
    inside.arg("--ours").arg(&ours).arg("--go").arg(&go.plugins).arg("--out").arg(&out);
    inside.arg("--disk").arg(&disk).arg("--state").arg(&state);
    let measured = shell::watch(&mut inside);
    let _ = fs::remove_file(&disk);
    measured?;

    let mut results: Results = serde_json::from_slice(&fs::read(&out)?)?;
    results.machine = machine;
    results.commit = commit();
    results.date = sh("date +%F")?.trim().into();
    results.binary_bytes = bytes;
    results.judge();
    println!("\n{}", results.table());
    if save {
        let file = binary::root().join("bench/results").join(file_name(&results));
        fs::create_dir_all(file.parent().unwrap_or(Path::new("/")))?;
        fs::write(&file, serde_json::to_string_pretty(&results)? + "\n")?;
        println!("results: {}", file.display());
    }
    match results.missed() {
        0 => Ok(()),
        n => bail!("{n} of {} bounds missed", results.verdicts.len()),
    }
}

/// Puts a results file into docs/performance.md (its table, between two marks); the file of `bench` into docs/performance.svg too.
///
/// # Errors
/// If a file cannot be read or written, or the marks are missing.
pub(crate) fn document(file: &Path) -> Result<()> {
    let text = fs::read(file).with_context(|| file.display().to_string())?;
    let docs = binary::root().join("docs");
    if file.to_string_lossy().ends_with("-cluster.json") {
        let results: cluster::Results = serde_json::from_slice(&text)?;
        return put(&docs, "cluster", &results.table());
    }
    let results: Results = serde_json::from_slice(&text)?;
    fs::write(docs.join("performance.svg"), chart::svg(&results))?;
    put(&docs, "table", &results.table())
}

/// Replaces what is between `<!-- MARK: begin -->` and `<!-- MARK: end -->` in docs/performance.md.
fn put(docs: &Path, mark: &str, table: &str) -> Result<()> {
    let page = docs.join("performance.md");
    let text = fs::read_to_string(&page)?;
    let [begin, end] = [format!("<!-- {mark}: begin -->\n"), format!("<!-- {mark}: end -->")];
    let missing = || format!("docs/performance.md has no marks \"{mark}\"");
    let (before, rest) = text.split_once(&begin).with_context(missing)?;
    let (_, after) = rest.split_once(&end).with_context(missing)?;
    fs::write(&page, format!("{before}{begin}```text\n{}\n```\n{end}{after}", table.trim_end()))?;
    Ok(())
}

/// The measuring process, inside its namespaces.
///
/// # Errors
/// If any call fails.
pub(crate) fn measure(plan: &Plan) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    world::make(&plan.disk, &plan.state)?;
    let go = &install(&plan.go, &plan.state.join("bin/go"))?;
    let ours = install(&plan.ours, &plan.state.join("bin/plexus"))?;
    let reference: &'static str =
        if plan.go_version == "1.9.1" { "Go plugins 1.9.1 in order" } else { "Go plugins 1.1.1 in order" };
    let mut kinds =
        vec![(FLOOR, Kind::Floor), (OURS, Kind::Meta(ours.clone())), (reference, Kind::InOrder(go.clone()))];
    if go.join("multus").exists() {
        kinds.push(("Multus 4.3.0 + Go plugins", Kind::Meta(go.clone())));
    }
    if let Some(dir) = &plan.size.against {
        let dir = install(dir, &plan.state.join("bin/other"))?;
        kinds.push(("Plexus, the other build", Kind::Meta(dir)));
    }
    let chain = |(share, (name, kind))| Chain { name, share: Share(share), kind };
    let chains: Vec<Chain> = (0..).zip(kinds).map(chain).collect();
    for chain in &chains {
        chain.share.write()?;
    }
    let mut pods = Pods::default();

    // The first pod of a node makes the bridge, the floor's too; every program's pages are read once.
    let first = pods.add()?;
    let program = Chain { kind: Kind::InOrder(go.clone()), ..chains[0].clone() };
    program.call("ADD", first)?;
    let mut floor = Floor::new(program.share)?;
    program.call("DEL", first)?;
    for chain in &chains {
        let pod = pods.add()?;
        chain.add(&mut floor, pod)?;
        chain.del(&mut floor, pod)?;
    }

    let serial = serial(plan, &chains, &mut floor, &mut pods)?;
    let parallel = parallel(plan, &chains, &mut pods)?;
    eprintln!("  counting");
    let mut counted = Vec::new();
    for chain in chains.iter().filter(|c| c.name != FLOOR) {
        let all = [pods.new_one()?, pods.new_one()?];
        counted.extend(counts::count(chain, [&all[0], &all[1]])?);
        pods.keep(all);
    }
    eprintln!("  host-local");
    let programs = [(OURS, ours), (if plan.go_version == "1.9.1" { "Go 1.9.1" } else { "Go 1.1.1" }, go.clone())];
    let host_local = hostlocal::measure(&programs, &plan.state, &pods.add()?.netns, plan.size.host_local)?;

    let results = Results {
        date: String::new(),
        commit: String::new(),
        machine: Machine::default(),
        reference: reference.into(),
        binary_bytes: 0,
        serial,
        parallel,
        counts: counted,
        host_local,
        verdicts: Vec::new(),
    };
    fs::write(&plan.out, serde_json::to_vec(&results)?)?;
    Ok(())
}

/// Puts the programs of a directory on the run's disk as `plexus-node install` does, all of them in the same way: with one write. How a file was written decides
/// in what pieces the kernel has it in memory, and a linker's output makes each start a tenth of a millisecond longer and more.
fn install(from: &Path, to: &Path) -> Result<PathBuf> {
    let failed = || format!("cannot install {} as {}", from.display(), to.display());
    fs::create_dir_all(to).with_context(failed)?;
    for program in fs::read_dir(from).with_context(failed)? {
        let program = program.with_context(failed)?;
        if program.path().is_file() {
            let file = to.join(program.file_name());
            fs::write(&file, fs::read(program.path()).with_context(failed)?).with_context(failed)?;
            fs::set_permissions(&file, program.metadata().with_context(failed)?.permissions()).with_context(failed)?;
        }
    }
    Ok(to.to_owned())
}

/// All pods of the run.
#[derive(Debug, Default)]
struct Pods {
    all: Vec<Pod>,
    next: u32,
}

impl Pods {
    fn new_one(&mut self) -> Result<Pod> {
        self.next += 1;
        Pod::new(self.next)
    }

    fn keep(&mut self, pods: impl IntoIterator<Item = Pod>) {
        self.all.extend(pods);
    }

    fn add(&mut self) -> Result<&Pod> {
        let pod = self.new_one()?;
        self.all.push(pod);
        Ok(&self.all[self.all.len() - 1])
    }

    /// Removes all of them. A node has some hundred at most, and the kernel searches the namespaces that it has told of each other one by one: with a
    /// thousand, everything gets slower. Their end is the kernel's work for a while, which is waited for.
    fn clear(&mut self) -> Result<()> {
        for pod in self.all.drain(..) {
            pod.remove()?;
        }
        std::thread::sleep(CLEARED);
        Ok(())
    }
}

fn serial(plan: &Plan, chains: &[Chain], floor: &mut Floor, pods: &mut Pods) -> Result<Vec<Serial>> {
    let mut times = vec![(Vec::new(), Vec::new()); chains.len()];
    for round in 0..plan.size.rounds {
        if round % 20 == 0 {
            eprintln!("  one at a time: round {round} of {}", plan.size.rounds);
            pods.clear()?;
        }
        let these: Vec<Pod> = chains.iter().map(|_| pods.new_one()).collect::<Result<_>>()?;
        let order: Vec<usize> = (0..chains.len()).map(|i| (i + round) % chains.len()).collect();
        for &i in &order {
            std::thread::sleep(SETTLE);
            times[i].0.push(chains[i].add(floor, &these[i])?);
        }
        for &i in &order {
            std::thread::sleep(SETTLE);
            times[i].1.push(chains[i].del(floor, &these[i])?);
        }
        pods.keep(these);
    }
    let named = chains.iter().zip(&times);
    Ok(named
        .map(|(chain, (adds, dels))| Serial { chain: chain.name.into(), add: Spread::of(adds), del: Spread::of(dels) })
        .collect())
}

fn parallel(plan: &Plan, chains: &[Chain], pods: &mut Pods) -> Result<Vec<Parallel>> {
    struct Sum {
        wall: [Duration; 2],
        times: [Vec<Duration>; 2],
    }
    let none = || Sum { wall: [Duration::ZERO; 2], times: [Vec::new(), Vec::new()] };
    let mut sums: Vec<Sum> = chains.iter().map(|_| none()).collect();
    for block in 0..plan.size.blocks {
        eprintln!("  {THREADS} at a time: block {block} of {}", plan.size.blocks);
        pods.clear()?;
        for turn in 0..chains.len() {
            let i = (turn + block) % chains.len();
            let these: Vec<Pod> = (0..BLOCK).map(|_| pods.new_one()).collect::<Result<_>>()?;
            for (v, add) in [true, false].into_iter().enumerate() {
                std::thread::sleep(SETTLE * 10);
                let (wall, times) = together(&chains[i], &these, add)?;
                sums[i].wall[v] += wall;
                sums[i].times[v].extend(times);
            }
            pods.keep(these);
        }
    }
    let named = chains.iter().zip(&sums);
    Ok(named
        .map(|(chain, Sum { wall, times })| Parallel {
            chain: chain.name.into(),
            threads: THREADS,
            pods: times[0].len(),
            adds_per_second: report::rate(times[0].len(), wall[0].as_secs_f64()),
            dels_per_second: report::rate(times[1].len(), wall[1].as_secs_f64()),
            add: Spread::of(&times[0]),
            del: Spread::of(&times[1]),
        })
        .collect())
}

/// One verb for all pods, by threads that each take the next pod: the whole time, and each call's.
fn together(chain: &Chain, pods: &[Pod], add: bool) -> Result<(Duration, Vec<Duration>)> {
    let next = AtomicUsize::new(0);
    let times = Mutex::new(Vec::new());
    let floors: Vec<Floor> = (0..THREADS).map(|_| Floor::new(chain.share)).collect::<Result<_>>()?;
    let start = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = floors
            .into_iter()
            .map(|mut floor| {
                let (next, times) = (&next, &times);
                scope.spawn(move || -> Result<()> {
                    while let Some(pod) = pods.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let took = if add { chain.add(&mut floor, pod)? } else { chain.del(&mut floor, pod)? };
                        times.lock().map_err(|_| anyhow!("another worker panicked"))?.push(took);
                    }
                    Ok(())
                })
            })
            .collect();
        workers.into_iter().try_for_each(|w| w.join().map_err(|_| anyhow!("a worker panicked"))?)
    })?;
    let wall = start.elapsed();
    let times = times.into_inner().map_err(|_| anyhow!("a worker panicked"))?;
    ensure!(times.len() == pods.len(), "{} of {} calls ended", times.len(), pods.len());
    Ok((wall, times))
}

fn machine(state: &Path) -> Result<Machine> {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, key: &str| {
        let line = text.lines().find(|l| l.starts_with(key)).unwrap_or_default();
        line.split([':', '=']).nth(1).unwrap_or_default().trim().trim_matches('"').to_owned()
    };
    let memory = field(&file("/proc/meminfo"), "MemTotal");
    let load = file("/proc/loadavg");
    Ok(Machine {
        cpu: field(&file("/proc/cpuinfo"), "model name"),
        cores: std::thread::available_parallelism()?.get(),
        memory_mb: memory.split(' ').next().and_then(|kb| kb.parse::<u64>().ok()).unwrap_or_default() / 1024,
        kernel: file("/proc/sys/kernel/osrelease").trim().into(),
        system: field(&file("/etc/os-release"), "PRETTY_NAME"),
        filesystem: shell::capture(Command::new("findmnt").args(["-n", "-o", "FSTYPE", "-T"]).arg(state))?
            .trim()
            .into(),
        load_before: load.split(' ').next().and_then(|l| l.parse().ok()).unwrap_or_default(),
    })
}

fn commit() -> String {
    let git = |args: &[&str]| shell::capture(Command::new("git").args(args).current_dir(binary::root()));
    let changed = git(&["status", "--porcelain", "--", "crates", "Cargo.lock"]).is_ok_and(|s| !s.is_empty());
    let head = git(&["rev-parse", "--short", "HEAD"]).unwrap_or_default();
    format!("{}{}", head.trim(), if changed { "+" } else { "" })
}

/// `2026-11-24-2cpu-6.18.json`.
fn file_name(results: &Results) -> String {
    let kernel: Vec<&str> = results.machine.kernel.split('.').take(2).collect();
    format!("{}-{}cpu-{}.json", results.date, results.machine.cores, kernel.join("."))
}
