//! The server of the store, if there is one.

use drave::store::Store;

use super::sheet::Sheet;
use super::table as t;
use crate::cli::Result;
use crate::cli::context::Context;
use crate::cli::server_info::Info;

const SECTIONS: [&str; 8] = ["server", "clients", "persistence", "stats", "memory", "cpu", "errorstats", "drave"];

/// Puts down what the server has counted, or that there is none.
pub(super) fn collect(store: &Store, password: Option<&[u8]>, sheet: &mut Sheet, context: &Context) -> Result<()> {
    let info = match Info::ask(store, &SECTIONS, password, context) {
        Ok(info) => info,
        Err(error) => {
            // The time limit of the whole command is not the server's fault.
            context.job.check()?;
            context.say(&format!("{error:#}"));
            None
        }
    };
    sheet.put(t::SERVER_UP, &[], f64::from(u8::from(info.is_some())))?;
    let Some(info) = info else { return Ok(()) };
    for (spec, name) in [
        (t::SERVER_UPTIME, "uptime_in_seconds"),
        (t::SERVER_CLIENTS, "connected_clients"),
        (t::SERVER_CLIENTS_MAX, "maxclients"),
        (t::SERVER_BLOCKED, "blocked_clients"),
        (t::SERVER_CONNECTIONS, "total_connections_received"),
        (t::SERVER_REJECTED, "rejected_connections"),
        (t::SERVER_COMMANDS, "total_commands_processed"),
        (t::SERVER_IN, "total_net_input_bytes"),
        (t::SERVER_OUT, "total_net_output_bytes"),
        (t::SERVER_IN_HAND, "topics_in_hand"),
        (t::SERVER_ADDED, "records_added"),
        (t::SERVER_ADDED_BYTES, "bytes_added"),
        (t::SERVER_READ, "records_read"),
        (t::SERVER_READ_BYTES, "bytes_read"),
        (t::SERVER_SYNCS_FAILED, "syncs_failed"),
        (t::SERVER_MEMORY, "used_memory"),
    ] {
        // An older server does not tell all of it.
        if let Some(number) = info.number(name) {
            sheet.put(spec, &[], number)?;
        }
    }
    for (mode, name) in [("user", "used_cpu_user"), ("system", "used_cpu_sys")] {
        if let Some(seconds) = info.number(name) {
            sheet.put(t::SERVER_CPU, &[mode], seconds)?;
        }
    }
    for error in info.list("errorstat_") {
        if let Some(count) = error.count("count") {
            sheet.put(t::SERVER_ERRORS, &[&String::from_utf8_lossy(&error.name)], count as f64)?;
        }
    }
    for (stage, name) in [("append", "append_usec"), ("sync", "sync_usec"), ("command", "command_usec")] {
        let times = info.percentiles(name).into_iter().flatten();
        for (quantile, micros) in ["0.5", "0.99", "0.999"].into_iter().zip(times) {
            sheet.put(t::SERVER_LATENCY, &[stage, quantile], micros as f64 / 1e6)?;
        }
    }
    Ok(())
}
