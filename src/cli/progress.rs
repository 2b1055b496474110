//! Progress on stderr, where a person watches; nothing anywhere else.
//!
//! Decides: how a bar looks. Never does: write to stdout, or draw when stderr is no terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// A bar of `total` steps; hidden when quiet or when stderr is no terminal.
pub(crate) fn bar(total: u64, doing: &'static str, quiet: bool) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(total), target).with_message(doing);
    bar.set_style(
        ProgressStyle::with_template(
            "{msg:>12} [{bar:32}] {human_pos}/{human_len}  {per_sec}  {eta} left",
        )
        .expect("the template above is valid")
        .progress_chars("=> "),
    );
    bar
}

/// A turning sign for work of unknown length.
pub(crate) fn spinner(doing: &'static str, quiet: bool) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(None, target).with_message(doing);
    bar.set_style(
        ProgressStyle::with_template("{msg:>12} {human_pos}  {elapsed}")
            .expect("the template above is valid"),
    );
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
