//! HELLO, AUTH, RESET, SELECT, CLIENT.

use rustix::process::Signal;

use super::rig::{Client, Server, Value};
use crate::support::Store;

#[test]
fn hello_tells_what_clients_read_and_switches_the_protocol() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    let id = client.say("CLIENT ID").int();
    let line = |proto: u8| format!("server redis version 8.6.0 proto :{proto} id :{id} mode standalone role master modules []");
    assert_eq!(client.say("HELLO").line(), format!("[{}]", line(2)));
    let Value::Map(pairs) = client.say("hello 3 setname me") else { panic!("no map") };
    assert_eq!(pairs.len(), 7);
    assert_eq!(client.say("HELLO").get("proto").int(), 3);
    assert_eq!(client.say("CLIENT GETNAME").line(), "me");
    assert_eq!(client.say("HELLO 2").line(), format!("[{}]", line(2)));
}

#[test]
fn hello_changes_nothing_when_a_word_of_it_is_wrong() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    for (words, error) in [
        ("HELLO 1", "-NOPROTO unsupported protocol version"),
        ("HELLO 4 SETNAME x", "-NOPROTO unsupported protocol version"),
        ("HELLO x", "-ERR Protocol version is not an integer or out of range"),
        ("HELLO 3 SETNAME x FOO", "-ERR Syntax error in HELLO option 'FOO'"),
        ("HELLO 3 SETNAME x AUTH a", "-ERR Syntax error in HELLO option 'AUTH'"),
        ("HELLO 3 SETNAME x AUTH other pw", "-WRONGPASS invalid username-password pair or user is disabled."),
        ("HELLO 3 SETNAME a\x01", "-ERR Client names cannot contain spaces, newlines or special characters."),
    ] {
        assert_eq!(client.say(words).line(), error, "{words}");
        assert_eq!(client.say("CLIENT GETNAME").line(), "nil", "{words}");
    }
    assert_eq!(client.say("HELLO 3 AUTH default anything SETNAME x").get("proto").int(), 3);
}

#[test]
fn a_password_is_asked_for_before_anything_else() {
    let store = Store::new();
    let file = store.beside().join("password");
    std::fs::write(&file, "secret\n").expect("a file");
    let server = Server::start(&store, &["--password-file", file.to_str().expect("text")]);
    let mut client = server.client();
    let wrong = "-WRONGPASS invalid username-password pair or user is disabled.";
    for _ in 0..3 {
        assert_eq!(client.say("XLEN s").line(), "-NOAUTH Authentication required.");
        assert_eq!(client.say("AUTH wrong").line(), wrong);
        assert_eq!(client.say("AUTH other secret").line(), wrong);
        assert!(client.say("HELLO 3").line().starts_with("-NOAUTH HELLO must be called with the client already authenticated"));
        assert_eq!(client.say("HELLO 3 AUTH default wrong").line(), wrong);
    }
    assert_eq!(client.say("AUTH a b c").line(), "-ERR syntax error");
    assert_eq!(client.say("AUTH secret").line(), "+OK");
    assert_eq!(client.say("XLEN s").line(), ":0");
    assert_eq!(client.say("RESET").line(), "+RESET");
    assert_eq!(client.say("XLEN s").line(), "-NOAUTH Authentication required.");
    assert_eq!(client.say("AUTH default secret").line(), "+OK");
    assert!(client.say("INFO stats").text().contains("\r\nacl_access_denied_auth:9\r\n"));
    client.say("CONFIG SET slowlog-log-slower-than 0");
    client.say("AUTH secret");
    client.say("HELLO 2 AUTH default secret");
    assert!(!client.say("SLOWLOG GET -1").line().contains("secret"), "no password is shown");
    let mut client = server.client();
    assert_eq!(client.say("HELLO 3 AUTH default secret").get("proto").int(), 3);
    let (_, said) = server.end(Signal::TERM);
    let lines = said.lines().filter(|line| line.contains("wrong passwords")).count();
    assert!((1..9).contains(&lines), "a flood of passwords is no flood of lines: {said}");
    assert!(!said.contains("secret"));
}

#[test]
fn without_a_password_the_default_user_needs_none() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    assert_eq!(
        client.say("AUTH x").line(),
        "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"
    );
    assert_eq!(client.say("AUTH default x").line(), "+OK");
    assert_eq!(client.say("AUTH other x").line(), "-WRONGPASS invalid username-password pair or user is disabled.");
    assert_eq!(client.say("ACL WHOAMI").line(), "default");
}

#[test]
fn there_is_one_database() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    assert_eq!(client.say("SELECT 0").line(), "+OK");
    assert_eq!(client.say("SELECT 1").line(), "-ERR DB index is out of range");
    assert_eq!(client.say("SELECT x").line(), "-ERR value is not an integer or out of range");
}

#[test]
fn reset_leaves_a_connection_as_it_began() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client3();
    client.say("CLIENT SETNAME me");
    client.say("CLIENT SETINFO LIB-NAME lib");
    client.say("CLIENT NO-EVICT ON");
    client.say("WATCH s");
    client.say("SUBSCRIBE c");
    client.say("MULTI");
    client.say("PING");
    assert_eq!(client.say("RESET").line(), "+RESET");
    assert_eq!(client.say("EXEC").line(), "-ERR EXEC without MULTI");
    assert_eq!(client.say("CLIENT GETNAME").line(), "nil");
    let info = client.say("CLIENT INFO").text();
    for part in [" name= ", " flags=N ", " sub=0 ", " multi=-1 watch=0 ", " resp=2 ", " lib-name=lib "] {
        assert!(info.contains(part), "{part} in {info}");
    }
    client.send_bytes(b"CLIENT REPLY OFF\r\nPING\r\nRESET\r\n");
    assert_eq!(client.read().line(), "+RESET");
    assert_eq!(client.say("PING").line(), "+PONG");
}

#[test]
fn client_list_has_the_fields_of_redis() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client3();
    client.say("CLIENT SETNAME me");
    client.say("CLIENT SETINFO lib-ver 1.0");
    assert_eq!(client.say("CLIENT GETNAME").line(), "me");
    let info = client.say("CLIENT INFO");
    assert!(matches!(info, Value::Verbatim(_)));
    let text = info.text();
    let names: Vec<&str> = text.split_whitespace().map(|field| field.split('=').next().unwrap_or_default()).collect();
    let expected = "id addr laddr fd name age idle flags db sub psub ssub multi watch qbuf qbuf-free argv-mem multi-mem rbs rbp obl oll omem \
                    tot-mem events cmd user redir resp lib-name lib-ver io-thread tot-net-in tot-net-out tot-cmds dropped";
    assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
    for part in [
        " name=me ",
        " cmd=client|info ",
        " user=default ",
        " resp=3 ",
        " lib-ver=1.0 ",
        &format!(" laddr=127.0.0.1:{} ", server.port()),
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let mut unix = Client::of_store(&store);
    unix.say("MULTI");
    unix.say("PING");
    let id = client.say("CLIENT ID").int();
    let list = client.say("CLIENT LIST").text();
    assert_eq!(list.lines().count(), 2);
    assert!(list.contains("drave.sock:0") && list.contains(" flags=xU ") && list.contains(" multi=1 "), "{list}");
    assert_eq!(client.say(&format!("CLIENT LIST ID {id} 999")).text().lines().count(), 1);
    assert_eq!(client.say("CLIENT LIST TYPE normal").text().lines().count(), 2);
    assert_eq!(client.say("CLIENT LIST TYPE replica").text(), "");
    assert_eq!(client.say("CLIENT LIST TYPE x").line(), "-ERR Unknown client type 'x'");
    assert_eq!(client.say("CLIENT LIST ID x").line(), "-ERR Invalid client ID");
    assert_eq!(client.say("CLIENT LIST ID").line(), "-ERR syntax error");
    for (words, error) in [
        ("CLIENT SETINFO lib-name a\tb", "-ERR lib-name cannot contain spaces, newlines or special characters."),
        ("CLIENT SETINFO foo b", "-ERR Unrecognized option 'foo'"),
        ("CLIENT MAINT_NOTIFICATIONS ON", "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP."),
        ("CLIENT NO-TOUCH maybe", "-ERR syntax error"),
        ("CLIENT", "-ERR wrong number of arguments for 'client' command"),
        ("CLIENT SETNAME", "-ERR wrong number of arguments for 'client|setname' command"),
        ("CLIENT TRACKING OFF", "+OK"),
    ] {
        assert_eq!(client.say(words).line(), error, "{words}");
    }
    assert!(client.say("CLIENT TRACKING ON").line().starts_with("-ERR client side caching is not supported"));
}

#[test]
fn client_kill_closes_those_who_are_meant() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    let address = |client: &mut Client| {
        let info = client.say("CLIENT INFO").text();
        info.split_whitespace().find_map(|field| field.strip_prefix("addr=")).expect("an address").to_owned()
    };
    let mut other = server.client();
    let other_address = address(&mut other);
    assert_eq!(client.say(&format!("CLIENT KILL {other_address}")).line(), "+OK");
    assert_eq!(other.try_read(), None);
    assert_eq!(client.say(&format!("CLIENT KILL {other_address}")).line(), "-ERR No such client");
    let (mut one, mut two, mut listener) = (server.client(), server.client(), server.client());
    listener.say("SUBSCRIBE c");
    let id = one.say("CLIENT ID").int();
    assert_eq!(client.say(&format!("CLIENT KILL ID {id} TYPE pubsub")).line(), ":0");
    // In one packet: its task has not ended yet.
    client.send_bytes(format!("CLIENT KILL ID {id}\r\nCLIENT KILL ID {id}\r\nCLIENT LIST ID {id}\r\n").as_bytes());
    assert_eq!([client.read().line(), client.read().line(), client.read().line()], [":1", ":0", ""], "who is killed is gone");
    assert_eq!(one.try_read(), None);
    assert_eq!(client.say("CLIENT KILL TYPE pubsub").line(), ":1");
    assert_eq!(listener.try_read(), None);
    two.say("PING");
    assert_eq!(client.say("CLIENT KILL MAXAGE 1000").line(), ":0");
    let own = address(&mut client);
    assert_eq!(client.say(&format!("CLIENT KILL ADDR {own}")).line(), ":0", "it spares itself");
    let local = format!("127.0.0.1:{}", server.port());
    assert_eq!(client.say(&format!("CLIENT KILL LADDR {local} USER default SKIPME no")).line(), ":2");
    assert_eq!((two.try_read(), client.try_read()), (None, None));
    let mut client = server.client();
    for (words, error) in [
        ("CLIENT KILL ID 0", "-ERR client-id should be greater than 0"),
        ("CLIENT KILL ID x", "-ERR client-id should be greater than 0"),
        ("CLIENT KILL TYPE x", "-ERR Unknown client type 'x'"),
        ("CLIENT KILL USER x", "-ERR No such user 'x'"),
        ("CLIENT KILL SKIPME maybe", "-ERR syntax error"),
        ("CLIENT KILL ID 1 TYPE", "-ERR syntax error"),
    ] {
        assert_eq!(client.say(words).line(), error, "{words}");
    }
    let own = address(&mut client);
    assert_eq!(client.say(&format!("CLIENT KILL {own}")).line(), "+OK");
    assert_eq!(client.try_read(), None);
}

#[test]
fn client_reply_says_which_replies_are_wanted() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let mut client = server.client();
    client.send_bytes(b"CLIENT REPLY SKIP\r\nECHO no\r\nECHO yes\r\nCLIENT REPLY OFF\r\nECHO no\r\nNOPE\r\nXADD s * a b\r\nCLIENT REPLY SKIP\r\nECHO no\r\nCLIENT REPLY ON\r\nXLEN s\r\n");
    let lines: Vec<String> = (0..3).map(|_| client.read().line()).collect();
    assert_eq!(lines, ["yes", "+OK", ":1"]);
    assert_eq!(client.say("CLIENT REPLY maybe").line(), "-ERR syntax error");
}

#[test]
fn client_unblock_ends_what_waits() {
    let store = Store::new();
    let server = Server::start(&store, &[]);
    let (mut client, mut waiting) = (server.client(), server.client());
    let id = waiting.say("CLIENT ID").int();
    assert_eq!(client.say(&format!("CLIENT UNBLOCK {id}")).line(), ":0");
    for (how, expected) in [("", "+OK"), (" TIMEOUT", "+OK"), (" ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK")] {
        waiting.send(&["DEBUG", "SLEEP", "1000"]);
        while !client.say(&format!("CLIENT LIST ID {id}")).text().contains(" flags=b ") {}
        assert!(client.say("INFO clients").text().contains("\r\nblocked_clients:1\r\n"));
        assert_eq!(client.say(&format!("CLIENT UNBLOCK {id}{how}")).line(), ":1");
        assert_eq!(waiting.read().line(), expected);
    }
    assert_eq!(client.say("CLIENT UNBLOCK 1 foo").line(), "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
    assert_eq!(client.say("CLIENT UNBLOCK 999").line(), ":0");
}
