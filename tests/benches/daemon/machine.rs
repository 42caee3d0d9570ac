//! The machine and versions of a measurement, without which its figures mean nothing.

use std::{fs, process::Command};

use anyhow::Context;

use crate::{process::binary, root};

/// A paragraph with machine, date, commit and versions.
pub fn describe() -> anyhow::Result<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key));
        line.and_then(|l| l.split_once(':')).map_or("unknown".to_owned(), |(_, v)| v.trim().into())
    };
    let model = field(&cpu, "model name");
    let mhz: f64 = field(&cpu, "cpu MHz").parse().unwrap_or(0.0);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field(&fs::read_to_string("/proc/meminfo").unwrap_or_default(), "MemTotal");
    let memory_kib: f64 = memory.trim_end_matches(" kB").parse().unwrap_or(0.0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown").to_owned();
    let dirty = !said("git", &["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    let lock = fs::read_to_string(root().join("Cargo.lock")).context("Cargo.lock")?;
    let locked = |name: &str| {
        let entry = lock.split_once(&format!("name = \"{name}\"\nversion = \""));
        entry.and_then(|(_, rest)| rest.split('"').next()).unwrap_or("unknown").to_owned()
    };
    let pinned = fs::read_to_string(root().join("scripts/requirements-runtime.txt"));
    let pinned = pinned.context("scripts/requirements-runtime.txt")?;
    let onnx = pinned.split_once("onnxruntime==").and_then(|(_, rest)| rest.split(' ').next());
    let corticast = said(&binary("corticast").to_string_lossy(), &["--version"])?;
    Ok(format!(
        "- machine: {model} at {mhz:.0} MHz, {cores} cores, {:.0} GiB of memory, Linux {}{}\n\
         - date: {} (load average before: {load})\n\
         - commit: {}{}\n\
         - versions: {corticast}, {}, ONNX Runtime {}, omq {}, mcap {}\n",
        memory_kib / 1024.0 / 1024.0,
        kernel.trim(),
        if cpu.contains("hypervisor") { ", a virtual machine" } else { "" },
        said("date", &["-u", "+%Y-%m-%d %H:%M UTC"])?,
        said("git", &["rev-parse", "--short", "HEAD"])?,
        if dirty { ", with uncommitted changes" } else { "" },
        said("rustc", &["--version"])?,
        onnx.unwrap_or("unknown"),
        locked("omq-tokio"),
        locked("mcap"),
    ))
}

fn said(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).current_dir(root()).output();
    let output = output.with_context(|| format!("cannot run {program}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
