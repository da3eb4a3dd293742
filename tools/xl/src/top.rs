//! `xl top`: the domains and what they use, again and again.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use clap::Args;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::termios::{LocalModes, OptionalActions, Termios};
use serde_json::json;
use xen_control::DomId;

use crate::command::Run;
use crate::context::{Context, Failure, Outcome, print_json};
use crate::list::{chosen, domain_json};

/// Options of `xl top`.
#[derive(Args, Debug)]
pub(crate) struct Top {
    /// Plain text, one table after the other
    #[arg(short, long)]
    batch: bool,
    /// How many tables; forever if not told
    #[arg(short, long)]
    iterations: Option<u64>,
    /// Seconds between them
    #[arg(short, long, default_value_t = 3.0)]
    delay: f64,
}

impl Run for Top {
    const NAME: &'static str = "top";
    const ABOUT: &'static str = "Monitor a host and the domains in real time";

    fn run(self, context: &Context) -> Outcome {
        if !(self.delay >= 0.1 && self.delay <= 86400.0) {
            return Err(Failure::new("the delay can be 0.1 to 86400 s"));
        }
        let live = !self.batch && !context.json && std::io::stdout().is_terminal();
        let _terminal = if live { Some(Terminal::enter()?) } else { None };
        let mut before = HashMap::new();
        let mut at = Instant::now();
        let mut count = 0;
        loop {
            let elapsed = at.elapsed();
            at = Instant::now();
            let rows = rows(context, &mut before, elapsed)?;
            if context.json {
                print_json(&rows.json);
            } else if live {
                // Home, each line cleared to its end, and what is below cleared.
                let text = rows.text.join("\x1b[K\r\n");
                print!("\x1b[H{text}\x1b[K\r\n\x1b[K\r\nq: end\x1b[K\x1b[J");
                std::io::stdout().flush()?;
            } else {
                println!("{}", rows.text.join("\n"));
            }
            count += 1;
            if self
                .iterations
                .is_some_and(|iterations| count >= iterations)
            {
                return Ok(());
            }
            if pause(Duration::from_secs_f64(self.delay), live)? {
                return Ok(());
            }
        }
    }
}

struct Rows {
    text: Vec<String>,
    json: serde_json::Value,
}

/// The table; `before` has each domain's CPU time at the last one.
fn rows(
    context: &Context,
    before: &mut HashMap<DomId, u64>,
    elapsed: Duration,
) -> Result<Rows, Failure> {
    let machine = context.control()?.machine()?.info;
    let domains = chosen(context, &[])?;
    let total = machine.total_pages.max(1);
    let mut text = vec![
        format!(
            "{} domains, {} CPUs of {} MHz, memory: {} MiB, {} MiB free",
            domains.len(),
            machine.nr_cpus,
            machine.cpu_khz / 1000,
            machine.total_pages / 256,
            machine.free_pages / 256
        ),
        "      NAME  STATE   CPU(sec) CPU(%)     MEM(k) MEM(%)  MAXMEM(k) MAXMEM(%) VCPUS"
            .to_owned(),
    ];
    let mut all = Vec::new();
    let mut now = HashMap::new();
    for (info, name) in &domains {
        let used = before
            .get(&info.domain)
            .map_or(0, |before| info.cpu_time.saturating_sub(*before));
        now.insert(info.domain, info.cpu_time);
        let nanoseconds = elapsed.as_nanos().max(1) as f64;
        let percent = if before.is_empty() {
            0.0
        } else {
            used as f64 * 100.0 / nanoseconds
        };
        let share = |pages: u64| pages.min(total) as f64 * 100.0 / total as f64;
        let has_limit = info.max_pages < total * 2;
        let (limit, limit_share) = if has_limit {
            (
                (info.max_pages * 4).to_string(),
                format!("{:.1}", share(info.max_pages)),
            )
        } else {
            ("no limit".to_owned(), "n/a".to_owned())
        };
        text.push(format!(
            "{name:>10} {} {:>10} {percent:>6.1} {:>10} {:>6.1} {limit:>10} {limit_share:>9} {:>5}",
            info.state_letters(),
            info.cpu_time / 1_000_000_000,
            info.pages * 4,
            share(info.pages),
            info.online_vcpus
        ));
        let mut row = domain_json(info, name);
        if let Some(row) = row.as_object_mut() {
            row.insert("cpu_percent".to_owned(), json!(percent));
        }
        all.push(row);
    }
    *before = now;
    Ok(Rows {
        text,
        json: json!(all),
    })
}

/// Waits; tells whether a person wants to end.
fn pause(time: Duration, live: bool) -> Result<bool, Failure> {
    if !live {
        std::thread::sleep(time);
        return Ok(false);
    }
    let input = std::io::stdin();
    let timeout = Timespec {
        tv_sec: time.as_secs() as i64,
        tv_nsec: i64::from(time.subsec_nanos()),
    };
    let mut descriptors = [PollFd::new(&input, PollFlags::IN)];
    match rustix::event::poll(&mut descriptors, Some(&timeout)) {
        Ok(0) | Err(rustix::io::Errno::INTR) => Ok(false),
        Ok(_) => {
            let mut key = [0; 16];
            let (keys, _) = rustix::io::read(&input, &mut key[..])
                .map(|count| key.split_at(count))
                .map_err(std::io::Error::from)?;
            // The input's end counts as well.
            Ok(keys.is_empty() || keys.iter().any(|key| matches!(key, b'q' | b'Q' | 3 | 27)))
        }
        Err(errno) => Err(std::io::Error::from(errno).into()),
    }
}

/// The terminal as it is while the table is live; as it was when dropped.
struct Terminal {
    before: Option<Termios>,
}

impl Terminal {
    fn enter() -> Result<Self, Failure> {
        let input = std::io::stdin();
        let before = rustix::termios::tcgetattr(&input).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.local_modes
                .remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
            rustix::termios::tcsetattr(&input, OptionalActions::Now, &raw)
                .map_err(std::io::Error::from)?;
        }
        // The other screen, without a cursor.
        print!("\x1b[?1049h\x1b[?25l\x1b[2J");
        std::io::stdout().flush()?;
        Ok(Self { before })
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        print!("\x1b[?25h\x1b[?1049l");
        let _ = std::io::stdout().flush();
        if let Some(before) = &self.before {
            let _ = rustix::termios::tcsetattr(std::io::stdin(), OptionalActions::Now, before);
        }
    }
}
