//! From text to a tree, by way of the tokens: what the parser does not know is rewritten to what it
//! does.
//!
//! Decides: which of PostgreSQL's four strengths each locking clause has, and the numbers of
//! MySQL's placeholders. Never does: look at the tree.

use super::class::Mode;
use super::reading::Flavour;
use sqlparser::ast::Statement;
use sqlparser::dialect::{Dialect, MySqlDialect, PostgreSqlDialect};
use sqlparser::keywords::Keyword;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Token, Tokenizer, Word};

/// How strong a locking clause is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strength {
    /// `FOR KEY SHARE`
    KeyShare,
    /// `FOR SHARE`, `LOCK IN SHARE MODE`
    Share,
    /// `FOR NO KEY UPDATE`
    NoKeyUpdate,
    /// `FOR UPDATE`
    Update,
}

impl Strength {
    /// The mode of the rows; InnoDB knows two.
    #[must_use]
    pub(super) fn mode(self, flavour: Flavour) -> Mode {
        match (self, flavour) {
            (Self::KeyShare, Flavour::Postgres) => Mode::KeyShare,
            (Self::KeyShare | Self::Share, _) => Mode::Share,
            (Self::NoKeyUpdate, Flavour::Postgres) => Mode::NoKeyUpdate,
            (Self::NoKeyUpdate | Self::Update, _) => Mode::Update,
        }
    }
}

/// The statements of a text, and the strength of each locking clause in the order of writing.
pub(super) fn parse(
    sql: &str,
    flavour: Flavour,
) -> Result<(Vec<Statement>, Vec<Strength>), String> {
    let dialect: &dyn Dialect = match flavour {
        Flavour::Postgres => &PostgreSqlDialect {},
        Flavour::MySql => &MySqlDialect {},
    };
    let tokens = Tokenizer::new(dialect, sql).tokenize().map_err(|error| error.to_string())?;
    let written: Vec<Token> =
        tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect();
    let (tokens, strengths) = rewrite(written, flavour);
    let statements = Parser::new(dialect)
        .with_tokens(tokens)
        .parse_statements()
        .map_err(|error| error.to_string())?;
    Ok((statements, strengths))
}

fn rewrite(tokens: Vec<Token>, flavour: Flavour) -> (Vec<Token>, Vec<Strength>) {
    let mut out = Vec::with_capacity(tokens.len());
    let mut strengths = Vec::new();
    let mut placeholders = 0;
    let mut at = 0;
    while at < tokens.len() {
        let rest = &tokens[at..];
        if let Some((strength, length)) = clause(rest) {
            strengths.push(strength);
            let shared = matches!(strength, Strength::KeyShare | Strength::Share);
            let kind = if shared { Keyword::SHARE } else { Keyword::UPDATE };
            out.extend([keyword(Keyword::FOR), keyword(kind)]);
            at += length;
            continue;
        }
        if words(rest, &["WAIT"]) && matches!(rest.get(1), Some(Token::Number(..))) {
            // MariaDB's bounded wait is a wait.
            at += 2;
            continue;
        }
        match &tokens[at] {
            Token::Placeholder(mark) if flavour == Flavour::MySql && mark == "?" => {
                placeholders += 1;
                out.push(Token::Placeholder(format!("${placeholders}")));
            }
            token => out.push(token.clone()),
        }
        at += 1;
    }
    (out, strengths)
}

/// A locking clause at the head, and how many tokens it has.
fn clause(tokens: &[Token]) -> Option<(Strength, usize)> {
    let forms: [(&[&str], Strength); 5] = [
        (&["FOR", "NO", "KEY", "UPDATE"], Strength::NoKeyUpdate),
        (&["FOR", "KEY", "SHARE"], Strength::KeyShare),
        (&["FOR", "UPDATE"], Strength::Update),
        (&["FOR", "SHARE"], Strength::Share),
        (&["LOCK", "IN", "SHARE", "MODE"], Strength::Share),
    ];
    let found = forms.iter().find(|(form, _)| words(tokens, form));
    found.map(|(form, strength)| (*strength, form.len()))
}

fn words(tokens: &[Token], expected: &[&str]) -> bool {
    tokens.len() >= expected.len()
        && tokens.iter().zip(expected).all(|(token, word)| {
            matches!(token, Token::Word(found)
                if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
        })
}

fn keyword(keyword: Keyword) -> Token {
    let value = format!("{keyword:?}");
    Token::Word(Word { value, quote_style: None, keyword })
}
