//! What stands before the text of a log line: time, session, user, application, label.
//!
//! Decides: how to find them whatever `log_line_prefix` is; what is not found is absent.
//! Never does: know the prefix's format.

use crate::txn::forensics::scan;

/// What a line says about who wrote it.
#[derive(Debug, Clone, Default)]
pub(in crate::txn::forensics) struct Meta {
    /// Number of the line in the input, from 1.
    pub(in crate::txn::forensics) line: usize,
    /// Time, as in RFC 3339 where the zone is known.
    pub(in crate::txn::forensics) time: Option<String>,
    /// Process id of the session.
    pub(in crate::txn::forensics) pid: Option<String>,
    pub(in crate::txn::forensics) user: Option<String>,
    pub(in crate::txn::forensics) application: Option<String>,
}

/// What the text after a label is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::txn::forensics) enum Label {
    /// `ERROR`, `LOG`: a new message.
    Message,
    /// A word that is in no table: a new message, or a hint, in another language.
    Unknown,
    Detail,
    Context,
    Statement,
    /// `HINT`, `QUERY`, `LOCATION`: of no use here.
    Other,
}

const MESSAGE: [&str; 12] = [
    "ERROR", "LOG", "FATAL", "PANIC", "WARNING", "NOTICE", "INFO", "DEBUG", "DEBUG1", "DEBUG2",
    "FEHLER", "ERREUR",
];
const DETAIL: [&str; 12] = [
    "DETAIL",
    "DETALLE",
    "DÉTAIL",
    "DETTAGLI",
    "DETALJ",
    "ПОДРОБНОСТИ",
    "ВІДОМОСТІ",
    "詳細",
    "상세정보",
    "დეტალები",
    "详细信息",
    "DETALHE",
];
const CONTEXT: [&str; 13] = [
    "CONTEXT",
    "ZUSAMMENHANG",
    "CONTEXTO",
    "CONTEXTE",
    "CONTESTO",
    "KONTEXT",
    "КОНТЕКСТ",
    "文脈",
    "내용",
    "კონტექსტი",
    "上下文",
    "背景",
    "KONTEKST",
];
const STATEMENT: [&str; 13] = [
    "STATEMENT",
    "ANWEISUNG",
    "SENTENCIA",
    "INSTRUCTION",
    "ISTRUZIONE",
    "SATS",
    "ОПЕРАТОР",
    "ІНСТРУКЦІЯ",
    "文",
    "구문",
    "ოპერატორი",
    "语句",
    "COMANDO",
];
const OTHER: [&str; 19] = [
    "HINT",
    "QUERY",
    "LOCATION",
    "TIPP",
    "ANFRAGE",
    "HINWEIS",
    "SUGERENCIA",
    "ASTUCE",
    "CONSEIL",
    "SUGGERIMENTO",
    "TIPS",
    "ПОДСКАЗКА",
    "УКАЗАНИЕ",
    "ПІДКАЗКА",
    "УКАЗІВКА",
    "ヒント",
    "힌트",
    "提示",
    "მინიშნება",
];

/// A line cut at its label: what stands before, which label, the text.
pub(in crate::txn::forensics) fn labelled(line: &str) -> Option<(&str, Label, &str)> {
    let (before, text) = line.split_once(":  ")?;
    let before = before.trim_end();
    let word = before.rsplit(char::is_whitespace).next().unwrap_or(before);
    let is = |table: &[&str]| table.contains(&word);
    let label = if is(&DETAIL) {
        Label::Detail
    } else if is(&CONTEXT) {
        Label::Context
    } else if is(&STATEMENT) {
        Label::Statement
    } else if is(&OTHER) {
        Label::Other
    } else if is(&MESSAGE) {
        Label::Message
    } else {
        Label::Unknown
    };
    Some((&before[..before.len() - word.len()], label, text))
}

/// What the start of a line tells.
pub(in crate::txn::forensics) fn meta(prefix: &str, line: usize) -> Meta {
    let prefix = scan::head(prefix, 400);
    let (user, application) = session(prefix);
    Meta { line, time: time(prefix), pid: pid(prefix), user, application }
}

/// `[25082]`, `[25082-1]`, `pid=25082`.
fn pid(prefix: &str) -> Option<String> {
    let marked = prefix.match_indices(['[', '=']).find_map(|(at, mark)| {
        if mark == "=" && !prefix[..at].ends_with("pid") {
            return None;
        }
        let (digits, rest) = scan::digits(&prefix[at + 1..])?;
        let ends = mark == "=" || rest.starts_with(']') || rest.starts_with('-');
        (ends && digits.len() <= 10).then(|| digits.to_owned())
    });
    marked.or_else(|| {
        // `%p` alone between blanks: the only word of digits.
        let mut words = prefix
            .split_whitespace()
            .filter(|word| word.len() <= 10 && word.bytes().all(|byte| byte.is_ascii_digit()));
        let only = words.next()?;
        words.next().is_none().then(|| only.to_owned())
    })
}

/// `user@database/application`, `user=…`, `app=…`.
fn session(prefix: &str) -> (Option<String>, Option<String>) {
    let value = |keys: &[&str]| {
        prefix.split([' ', ',', ';']).find_map(|word| {
            let (key, value) = word.split_once('=')?;
            (keys.contains(&key) && !value.is_empty()).then(|| value.to_owned())
        })
    };
    let mut user = value(&["user", "usr", "u"]);
    let mut application = value(&["app", "application", "application_name", "a"]);
    if user.is_none()
        && let Some((start, rest)) = prefix.split_once('@')
    {
        let name = start.rsplit([' ', ']', ':']).next().unwrap_or_default();
        user = Some(name.to_owned()).filter(|name| !name.is_empty());
        let rest = rest.split([' ', ',']).next().unwrap_or_default();
        let rest = rest.split(":[").next().unwrap_or_default();
        if let Some((_, name)) = rest.split_once('/') {
            application = Some(name.to_owned()).filter(|name| !name.is_empty());
        }
    }
    (user, application)
}

/// The first time in a text: `2026-11-22 06:55:50.789 UTC`, `2024-05-01T12:00:00.123456Z`, and
/// `240501 12:00:00` of old MySQL.
pub(in crate::txn::forensics) fn time(text: &str) -> Option<String> {
    let text = scan::head(text, 400);
    let dashed = text.match_indices('-').find_map(|(at, _)| {
        let year = text.get(at.checked_sub(4)?..at)?;
        let rest = text.get(at + 1..)?;
        let date = rest.get(..5).filter(|date| like(date, "00-00"))?;
        let clock = rest.get(5..)?;
        let mark = clock.chars().next().filter(|c| matches!(c, ' ' | 'T' | 't'))?;
        let clock = &clock[mark.len_utf8()..];
        like(year, "0000").then(|| moment(&format!("{year}-{date}"), clock)).flatten()
    });
    dashed.or_else(|| {
        let short = text.get(..7).filter(|date| like(date, "000000 "))?;
        let date = format!("20{}-{}-{}", &short[..2], &short[2..4], &short[4..6]);
        moment(&date, text.get(7..)?.trim_start())
    })
}

fn moment(date: &str, clock: &str) -> Option<String> {
    let hours = clock.get(..8).filter(|clock| like(clock, "00:00:00"))?;
    let mut rest = &clock[8..];
    let mut moment = format!("{date}T{hours}");
    if let Some(after) = rest.strip_prefix(['.', ','])
        && let Some((decimals, after)) = scan::digits(after)
    {
        moment.push('.');
        moment.push_str(scan::head(decimals, 9));
        rest = after;
    }
    let zone = rest.trim_start().split([' ', ',', '[', '"', ']', '|']).next().unwrap_or_default();
    match zone {
        "Z" | "UTC" | "GMT" | "z" => moment.push('Z'),
        zone if zone.starts_with(['+', '-'])
            && zone.len() <= 6
            && zone[1..].bytes().all(|byte| byte.is_ascii_digit() || byte == b':') =>
        {
            moment.push_str(zone);
        }
        zone if (2..=5).contains(&zone.len())
            && zone.bytes().all(|byte| byte.is_ascii_uppercase())
            && !matches!(zone, "LOG" | "ERROR" | "FATAL" | "WARN" | "INFO" | "DEBUG") =>
        {
            moment.push(' ');
            moment.push_str(zone);
        }
        _ => {}
    }
    Some(moment)
}

/// Whether a text has digits where the pattern has, and else the same characters.
fn like(text: &str, pattern: &str) -> bool {
    text.len() == pattern.len()
        && text.bytes().zip(pattern.bytes()).all(|(byte, wanted)| {
            if wanted == b'0' { byte.is_ascii_digit() } else { byte == wanted }
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_every_habit_are_read() {
        for (line, pid, user, application) in [
            ("2026-11-22 06:55:50.789 UTC [25082] pg@shop/A x=765 ", "25082", "pg", "A"),
            ("2026-11-22 06:55:50 UTC [25082-3] pg@shop/A ", "25082", "pg", "A"),
            ("2026-11-22 06:55:50 UTC:127.0.0.1(4):pg@shop/A:[25082]:", "25082", "pg", "A"),
            (
                "2026-11-22 06:55:50 UTC pid=25082,user=pg,db=x,app=A,client=::1 ",
                "25082",
                "pg",
                "A",
            ),
            ("25082 2026-11-22 06:55:50 UTC u=pg a=A ", "25082", "pg", "A"),
        ] {
            let meta = meta(line, 1);
            assert_eq!(meta.pid.as_deref(), Some(pid), "{line}");
            assert_eq!(meta.user.as_deref(), Some(user), "{line}");
            assert_eq!(meta.application.as_deref(), Some(application), "{line}");
            assert!(
                meta.time.is_some_and(|time| time.starts_with("2026-11-22T06:55:50")),
                "{line}"
            );
        }
    }

    #[test]
    fn times_keep_their_zone() {
        let read = |text| time(text).expect("a time");
        assert_eq!(read("x 2026-11-22 06:55:50.789 UTC [1]"), "2026-11-22T06:55:50.789Z");
        assert_eq!(read("2024-05-01T12:00:00.123456Z 12"), "2024-05-01T12:00:00.123456Z");
        assert_eq!(read("2024-05-01 12:00:00,5+02:00 x"), "2024-05-01T12:00:00.5+02:00");
        assert_eq!(read("2024-05-01 12:00:00 CEST [4]"), "2024-05-01T12:00:00 CEST");
        assert_eq!(read("2026-11-24 20:29:21 0x7fe9f85126c0"), "2026-11-24T20:29:21");
        assert_eq!(read("240501  9:00:00".replace("  9", " 09").as_str()), "2024-05-01T09:00:00");
        assert_eq!(time("ñ-12-31 00:00:00"), None);
    }

    #[test]
    fn labels_are_known_in_many_languages() {
        let label = |line| labelled(line).map(|(_, label, _)| label);
        assert_eq!(label("t [1] DETAIL:  x"), Some(Label::Detail));
        assert_eq!(label("t [1] CONTEXTE :  x"), Some(Label::Context));
        assert_eq!(label("t [1] ANWEISUNG:  x"), Some(Label::Statement));
        assert_eq!(label("t [1] FEHLER:  x"), Some(Label::Message));
        assert_eq!(label("t [1] HINT:  x"), Some(Label::Other));
        assert_eq!(label("no label: x"), None);
    }
}
