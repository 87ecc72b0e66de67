//! The words of one line of a script, taken one after another; what is left over is an error.

use anyhow::{Context as _, Result, bail, ensure};
use goldenscript::{Argument, Command};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::str::FromStr;

/// `at: verb word word key=value key=value`
#[derive(Clone, Debug, Default)]
pub struct Words {
    pub verb: String,
    at: Option<String>,
    positional: VecDeque<String>,
    keyed: BTreeMap<String, String>,
}

impl Words {
    /// # Errors
    /// A key is given twice.
    pub fn of(command: &Command) -> Result<Self> {
        let mut words = Self {
            verb: command.name.clone(),
            at: command.prefix.clone(),
            ..Self::default()
        };
        for Argument { key, value, .. } in &command.args {
            match key {
                None => words.positional.push_back(value.clone()),
                Some(key) => {
                    let earlier = words.keyed.insert(key.clone(), value.clone());
                    ensure!(earlier.is_none(), "{key}= is given twice");
                }
            }
        }
        Ok(words)
    }

    /// The next word becomes the verb: "unanswered get a" is "get a".
    ///
    /// # Errors
    /// There is none.
    pub fn inner(&mut self) -> Result<()> {
        self.verb = self.next("what to do")?;
        Ok(())
    }

    /// Who is asked: the word before the colon.
    ///
    /// # Errors
    /// Nobody.
    pub fn at(&mut self) -> Result<String> {
        let verb = &self.verb;
        self.at
            .take()
            .with_context(|| format!("{verb} is asked of a member: \"leader: {verb} ...\""))
    }

    /// The next word.
    ///
    /// # Errors
    /// There is none; `what` says what is missing.
    pub fn next(&mut self, what: &str) -> Result<String> {
        let word = self.positional.pop_front();
        word.with_context(|| format!("{}: {what} is missing", self.verb))
    }

    /// The next word, a number.
    ///
    /// # Errors
    /// There is none, or it is something else.
    pub fn next_number<T>(&mut self, what: &str) -> Result<T>
    where
        T: FromStr<Err: Display>,
    {
        let word = self.next(what)?;
        parse(what, &word)
    }

    /// All words that are left.
    pub fn rest(&mut self) -> Vec<String> {
        std::mem::take(&mut self.positional).into()
    }

    /// Whether `word` is among those that are left; it is taken.
    pub fn flag(&mut self, word: &str) -> bool {
        let before = self.positional.len();
        self.positional.retain(|other| other != word);
        self.positional.len() < before
    }

    /// What `key=` is set to.
    pub fn take(&mut self, key: &str) -> Option<String> {
        self.keyed.remove(key)
    }

    /// The number that `key=` is set to.
    ///
    /// # Errors
    /// It is something else.
    pub fn number<T>(&mut self, key: &str) -> Result<Option<T>>
    where
        T: FromStr<Err: Display>,
    {
        self.take(key).map(|text| parse(key, &text)).transpose()
    }

    /// # Errors
    /// A word is left that nobody understood.
    pub fn finish(&mut self) -> Result<()> {
        let verb = &self.verb;
        if let Some(word) = self.positional.front() {
            bail!("{verb} does not know what to do with {word:?}");
        }
        if let Some((key, _)) = self.keyed.first_key_value() {
            bail!("{verb} does not know {key}=");
        }
        if let Some(at) = &self.at {
            bail!("{verb} is asked of nobody, but stands behind \"{at}:\"");
        }
        Ok(())
    }
}

fn parse<T>(what: &str, text: &str) -> Result<T>
where
    T: FromStr<Err: Display>,
{
    let number = text.parse();
    number.map_err(|error| anyhow::anyhow!("{what}: {text:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::error::Error;

    /// Takes the words of every line, by way of the script's own parser.
    #[derive(Default)]
    struct Reader(Vec<Result<Words>>);

    impl goldenscript::Runner for Reader {
        fn run(&mut self, command: &Command) -> Result<String, Box<dyn Error>> {
            self.0.push(Words::of(command));
            Ok(String::new())
        }
    }

    fn words(line: &str) -> Words {
        let mut reader = Reader::default();
        goldenscript::generate(&mut reader, &format!("{line}\n---\n")).unwrap();
        reader.0.remove(0).unwrap()
    }

    #[test]
    fn words_are_taken_one_by_one() {
        let mut words = words("f1: unanswered get a prefix revision=7");
        assert_eq!(words.at().unwrap(), "f1");
        words.inner().unwrap();
        assert_eq!(words.verb, "get");
        assert_eq!(words.next("a key").unwrap(), "a");
        assert!(words.flag("prefix") && !words.flag("prefix"));
        assert_eq!(words.number::<i64>("revision").unwrap(), Some(7));
        words.finish().unwrap();
    }

    #[test]
    fn what_nobody_understood_is_an_error() {
        for (line, error) in [
            ("get a", "does not know what to do with \"a\""),
            ("get b=", "does not know b="),
            ("f1: get", "stands behind \"f1:\""),
        ] {
            let said = words(line).finish().unwrap_err().to_string();
            assert!(said.contains(error), "{said}");
        }
        assert!(words("get").next("a key").is_err());
        assert!(words("get").at().is_err());
        assert!(words("get x=y").number::<i64>("x").is_err());
    }
}
