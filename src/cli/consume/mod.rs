//! `drave consume`: work through a topic as a member of a group.

#[cfg_attr(not(test), expect(dead_code, unused_imports, reason = "nothing runs commands until the verb does"))]
pub(crate) mod exec;
