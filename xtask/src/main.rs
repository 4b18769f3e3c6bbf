//! The developer's tool: what `make` and `.ci/run` call.

mod bench;
mod binary;
mod demo;
mod image;
mod originals;
mod runtime;
mod shell;
mod suite;
mod term;
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Plexus's developer tool.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Build the static binary and say where it is.
    Build {
        /// With Kubernetes in it (annotations, definitions, network status): what goes into the image.
        #[arg(long)]
        kubernetes: bool,
    },
    /// The article's story in a small world of network namespaces.
    Demo {
        /// Leave the world up to look around; `demo-clean` removes it.
        #[arg(long)]
        keep: bool,
        /// A directory with the plugins `multus` and `loopback` to show instead of ours.
        #[arg(long, value_name = "DIR")]
        binary: Option<PathBuf>,
    },
    /// Run every test tier, or those named.
    Test {
        /// unit, documentation, netns, conformance
        tiers: Vec<String>,
    },
    /// Measure Plexus, the Go plugins and the kernel floor in one run.
    Bench {
        #[command(flatten)]
        size: bench::Size,
        /// A directory with the plugins `multus` and `host-local` to measure instead of ours.
        #[arg(long, value_name = "DIR")]
        binary: Option<PathBuf>,
        /// Do not keep the results in bench/results/.
        #[arg(long)]
        dry: bool,
    },
    /// Measure an ADD with a real API server, Plexus against Multus, on a cluster of one node.
    BenchCluster {
        /// Pods of each, one at a time.
        #[arg(long, default_value_t = 100)]
        rounds: usize,
        /// A plexus-node with Kubernetes in it to measure instead of building one.
        #[arg(long, value_name = "FILE")]
        binary: Option<PathBuf>,
        /// Do not keep the results in bench/results/.
        #[arg(long)]
        dry: bool,
    },
    /// Put a results file into docs/performance.md, and that of `bench` into docs/performance.svg.
    BenchDocs {
        /// The file.
        file: PathBuf,
    },
    /// Build the container image (an archive for docker, podman, containerd) and say where it is.
    Image(image::Options),
    /// Build the Go originals and print their directory, version and Multus.
    Originals,
    /// Remove the world that `demo --keep` left up.
    DemoClean,
    /// Inside the benchmark's namespaces: the measuring.
    #[command(hide = true)]
    BenchRun(bench::Plan),
    /// On the node: the measuring of `bench-cluster`.
    #[command(hide = true)]
    BenchClusterRun {
        /// What is to be measured.
        plan: PathBuf,
    },
    /// Inside the demo's namespaces: the story.
    #[command(hide = true)]
    DemoWorld(demo::Story),
    /// Inside the demo's namespaces: its end.
    #[command(hide = true)]
    DemoEnd(demo::Story),
    /// Inside the demo's namespaces: the pods' web servers.
    #[command(hide = true)]
    DemoPages {
        /// Names of the pods' network namespaces.
        pods: Vec<String>,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Build { kubernetes } => {
            let built = if kubernetes { binary::build_for_kubernetes() } else { binary::build() };
            built.map(|path| println!("{}", path.display()))
        }
        Task::Demo { keep, binary } => demo::run(keep, binary),
        Task::Test { tiers } => suite::run(&tiers),
        Task::Bench { size, binary, dry } => bench::run(&size, binary, !dry),
        Task::BenchCluster { rounds, binary, dry } => bench::cluster::run(rounds, binary, !dry),
        Task::BenchClusterRun { plan } => bench::cluster::measure(&plan),
        Task::BenchDocs { file } => bench::document(&file),
        Task::Image(options) => image::run(&options),
        Task::BenchRun(plan) => bench::measure(&plan),
        Task::Originals => originals::print().map_err(anyhow::Error::msg),
        Task::DemoClean => demo::clean(),
        Task::DemoWorld(story) => demo::world(&story),
        Task::DemoEnd(story) => demo::end(&story),
        Task::DemoPages { pods } => demo::pages(&pods),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{} {error:#}", term::red("error:"));
            ExitCode::FAILURE
        }
    }
}
