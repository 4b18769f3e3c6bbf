//! Programs that must not outlive who started them.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// The kernel kills the program when the calling thread ends, however it ends: one that changes the ruleset must not go on when the ADD that
/// started it has been killed and its DEL has been and gone. To be spawned by the calling thread, which must wait for it.
///
/// (`PR_SET_PDEATHSIG`: gone at an execve of a program with set-user-ID or file capabilities, which ip and iptables are not.)
#[expect(unsafe_code, reason = "the request is the child's own, between fork and execve")]
pub fn die_with_parent(command: &mut Command) -> &mut Command {
    let parent = rustix::process::getpid();
    let request = move || {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        // The parent may have ended before the request: then no signal comes any more.
        if rustix::process::getppid() == Some(parent) {
            return Ok(());
        }
        Err(rustix::io::Errno::CANCELED.into())
    };
    // SAFETY: what runs between fork and execve must be async-signal-safe: here two system calls, no allocation (an error of the kernel's is
    // a number), no lock.
    unsafe { command.pre_exec(request) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    /// The signal comes when the thread that spawned the program ends.
    #[test]
    fn a_program_ends_with_the_thread_that_started_it() {
        let spawn = || die_with_parent(Command::new("sleep").arg("20")).spawn().unwrap();
        let mut orphan = std::thread::spawn(spawn).join().unwrap();
        assert_eq!(orphan.wait().unwrap().signal(), Some(9));
    }

    #[test]
    fn one_that_ends_first_ends_as_it_likes() {
        let mut command = Command::new("sh");
        assert_eq!(die_with_parent(command.args(["-c", "exit 3"])).status().unwrap().code(), Some(3));
    }
}
