//! The command line: the options of Xen's daemons, as far as they make sense here, and a few more.

use std::path::PathBuf;

use xenstore::arguments;
use xenstore_core::{Limits, Quota};

/// What the daemon was told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Stay in the foreground.
    pub no_fork: bool,
    /// Where to write the process's number.
    pub pid_file: Option<PathBuf>,
    /// Print the process's number.
    pub output_pid: bool,
    /// The trace's file.
    pub trace_file: Option<PathBuf>,
    /// Log more.
    pub verbose: bool,
    /// Where lines go.
    pub log_file: Option<PathBuf>,
    /// Do not serve domain 0's own kernel.
    pub no_domain_init: bool,
    /// Where the state is kept; none: in memory only.
    pub state: Option<PathBuf>,
    /// Clients' socket.
    pub socket: PathBuf,
    /// The socket with counters.
    pub metrics: Option<PathBuf>,
    /// A directory in place of a machine.
    pub simulate: Option<PathBuf>,
    /// Measure latencies.
    pub latency: bool,
    /// Hard and soft quotas.
    pub hard: Limits,
    /// See `hard`.
    pub soft: Limits,
    /// Bytes that the store may have, domain 0's part as well; none: a quarter of the machine's memory.
    pub memory_max: Option<u64>,
    /// Seconds until an event that is not taken is dropped; none: the core's default.
    pub event_timeout: Option<u32>,
    /// What a predecessor left, as a descriptor.
    pub resume: Option<i32>,
    /// The arguments as they were, for a successor.
    pub words: Vec<String>,
}

/// What to do.
#[derive(Clone, Debug)]
pub enum Task {
    /// Serve.
    Serve(Box<Options>),
    /// Verify a snapshot.
    Check(PathBuf),
    /// Print help.
    Help,
    /// Print the version.
    Version,
}

/// The help's text.
pub const HELP: &str = "\
Usage: xenstored [options]

Keeps the store through which domains and tools find each other.

  -N, --no-fork              stay in the foreground
  -F, --pid-file FILE        write the process's number into FILE (also --pidfile)
  -P, --output-pid           print the process's number
  -T, --trace-file FILE      trace all messages into FILE; `xenstore-control log on|off` switches it
  -V, --verbose              log more
      --log-file FILE        log into FILE, not to the standard error output
  -D, --no-domain-init       do not serve domain 0's own kernel

  -I, --internal-db          keep the state in memory only: it does not survive the daemon
      --state DIR            keep it in DIR [/run/xenstored/state]
      --socket PATH          clients' socket [$XENSTORED_PATH, or /run/xenstored/socket]
      --metrics PATH         socket with counters for Prometheus [/run/xenstored/metrics.sock]; `none`
      --no-latency           do not measure how long requests take
      --check FILE           verify a snapshot, and exit

Quotas of unprivileged domains; 0 is no limit:
  -Q, --quota WHAT=N         nodes, watches, outstanding, memory, transactions, transaction-nodes,
                             node-permissions, path-max, node-size
  -q, --quota-soft WHAT=N    warn above this
  -E, --entry-nb N           as -Q nodes=N
  -W, --watch-nb N           as -Q watches=N
  -S, --entry-size N         as -Q node-size=N
  -t, --transaction N        as -Q transactions=N
  -A, --perm-nb N            as -Q node-permissions=N
  -M, --path-max N           as -Q path-max=N
      --memory-max MIB       of all domains together, domain 0 as well [a quarter of domain 0's memory]
  -w, --timeout watch-event=S  drop an event that a domain does not take within S seconds

      --simulate DIR         serve domains that files in DIR stand for, without Xen
  -H, --help                 this
      --version              the version

The state is a snapshot and a journal of what was committed since, at every moment: killed and started again,
the daemon continues where it was, in the middle of a message if need be.
`xenstore-control live-update FILE` continues as another program, with all clients.
";

const KNOWN: &[(char, &str, bool)] = &[
    ('N', "no-fork", false),
    ('F', "pid-file", true),
    ('\x01', "pidfile", true),
    ('P', "output-pid", false),
    ('T', "trace-file", true),
    ('V', "verbose", false),
    ('\x02', "log-file", true),
    ('D', "no-domain-init", false),
    ('I', "internal-db", false),
    ('\x03', "state", true),
    ('\x04', "socket", true),
    ('\x05', "metrics", true),
    ('\x06', "no-latency", false),
    ('\x07', "check", true),
    ('Q', "quota", true),
    ('q', "quota-soft", true),
    ('E', "entry-nb", true),
    ('W', "watch-nb", true),
    ('S', "entry-size", true),
    ('t', "transaction", true),
    ('A', "perm-nb", true),
    ('M', "path-max", true),
    ('w', "timeout", true),
    ('\x08', "simulate", true),
    ('\x10', "memory-max", true),
    ('H', "help", false),
    ('h', "help", false),
    ('\x0e', "version", false),
    ('\x0f', "resume", true),
    // Accepted for those who pass them: no recovery is needed, and keys of domains that are gone are removed.
    ('R', "no-recovery", false),
    ('L', "preserve-local", false),
];

/// Options that stand for a quota.
const QUOTA_OPTIONS: &[(char, Quota)] = &[
    ('E', Quota::Nodes),
    ('W', Quota::Watches),
    ('S', Quota::NodeSize),
    ('t', Quota::Transactions),
    ('A', Quota::NodePermissions),
    ('M', Quota::PathMax),
];

/// Reads the command line.
///
/// # Errors
///
/// What is wrong with it.
pub fn parse(words: &[String]) -> Result<Task, String> {
    let parsed = arguments::parse(words, KNOWN, false)?;
    if let Some(word) = parsed.words.first() {
        return Err(format!("{word}: takes no such argument"));
    }
    if parsed.has('H') || parsed.has('h') {
        return Ok(Task::Help);
    }
    if parsed.has('\x0e') {
        return Ok(Task::Version);
    }
    if let Some(path) = parsed.value('\x07') {
        return Ok(Task::Check(path.into()));
    }
    let path = |letter: char| parsed.value(letter).map(PathBuf::from);
    let number = |letter: char| -> Result<Option<u32>, String> {
        let parse = |text: &str| text.parse().map_err(|_| format!("{text}: not a number"));
        parsed.value(letter).map(parse).transpose()
    };
    let mut hard = Limits::hard_defaults();
    let mut soft = Limits::soft_defaults();
    for (letter, quota) in QUOTA_OPTIONS {
        if let Some(limit) = number(*letter)? {
            hard.set(*quota, limit);
        }
    }
    for (letter, limits) in [('Q', &mut hard), ('q', &mut soft)] {
        for setting in parsed.values(letter) {
            let (quota, limit) = quota(setting)?;
            limits.set(quota, limit);
        }
    }
    let mut event_timeout = None;
    for setting in parsed.values('w') {
        event_timeout = match setting.split_once('=') {
            Some(("watch-event", seconds)) => Some(
                seconds
                    .parse()
                    .map_err(|_| format!("{setting}: not a number"))?,
            ),
            _ => return Err(format!("{setting}: watch-event=SECONDS is expected")),
        };
    }
    let socket = path('\x04')
        .or_else(|| std::env::var_os("XENSTORED_PATH").map(PathBuf::from))
        .unwrap_or_else(|| "/run/xenstored/socket".into());
    Ok(Task::Serve(Box::new(Options {
        no_fork: parsed.has('N'),
        pid_file: path('F').or_else(|| path('\x01')),
        output_pid: parsed.has('P'),
        trace_file: path('T'),
        verbose: parsed.has('V'),
        log_file: path('\x02'),
        no_domain_init: parsed.has('D'),
        state: if parsed.has('I') {
            None
        } else {
            Some(path('\x03').unwrap_or_else(|| "/run/xenstored/state".into()))
        },
        socket,
        metrics: match parsed.value('\x05') {
            Some("none") => None,
            Some(path) => Some(path.into()),
            None => Some("/run/xenstored/metrics.sock".into()),
        },
        simulate: path('\x08'),
        latency: !parsed.has('\x06'),
        hard,
        soft,
        memory_max: number('\x10')?.map(|mebibytes| u64::from(mebibytes) << 20),
        event_timeout,
        resume: match parsed.value('\x0f') {
            Some(text) => Some(text.parse().map_err(|_| format!("{text}: not a number"))?),
            None => None,
        },
        words: words.to_vec(),
    })))
}

fn quota(setting: &str) -> Result<(Quota, u32), String> {
    let bad = || format!("{setting}: QUOTA=NUMBER is expected");
    let (name, limit) = setting.split_once('=').ok_or_else(bad)?;
    let quota = Quota::from_name(name).ok_or_else(|| format!("{name}: there is no such quota"))?;
    Ok((quota, limit.parse().map_err(|_| bad())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(line: &str) -> Result<Options, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match parse(&words)? {
            Task::Serve(options) => Ok(*options),
            _ => Err("not to serve".to_owned()),
        }
    }

    #[test]
    fn options_of_xen() {
        let given =
            options("-N --pid-file /run/x.pid -E 7 -Q watches=9 -q memory=5 -w watch-event=3 --memory-max 7")
                .unwrap();
        assert!(given.no_fork);
        assert_eq!(given.pid_file, Some("/run/x.pid".into()));
        assert_eq!(given.hard.get(Quota::Nodes), 7);
        assert_eq!(given.hard.get(Quota::Watches), 9);
        assert_eq!(given.soft.get(Quota::Memory), 5);
        assert_eq!(given.event_timeout, Some(3));
        assert_eq!(given.memory_max, Some(7 << 20));
        assert_eq!(options("-I").unwrap().state, None);
        for bad in ["word", "--what", "-Q nodes", "-Q what=1", "-E x", "-w x=1"] {
            assert!(options(bad).is_err(), "{bad}");
        }
    }
}
