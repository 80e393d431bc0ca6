# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_drave_global_optspecs
    string join \n s/store= q/quiet v/verbose color= timeout= unsafe-fs h/help V/version
end

function __fish_drave_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_drave_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_drave_using_subcommand
    set -l cmd (__fish_drave_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c drave -n "__fish_drave_needs_command" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_needs_command" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_needs_command" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_needs_command" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_needs_command" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_needs_command" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_needs_command" -s V -l version -d 'Print version'
complete -c drave -n "__fish_drave_needs_command" -f -a "publish" -d 'Append records to a topic'
complete -c drave -n "__fish_drave_needs_command" -f -a "tail" -d 'Print the last records of topics, and follow them'
complete -c drave -n "__fish_drave_needs_command" -f -a "replay" -d 'Print the records of topics, from the start to the end'
complete -c drave -n "__fish_drave_needs_command" -f -a "consume" -d 'Work through a topic as a member of a group'
complete -c drave -n "__fish_drave_needs_command" -f -a "group" -d 'Create, change, move, delete and list consumer groups'
complete -c drave -n "__fish_drave_needs_command" -f -a "dlq" -d 'List, retry and drop the dead letters of a group'
complete -c drave -n "__fish_drave_needs_command" -f -a "topic" -d 'Create, change, trim, delete and list topics'
complete -c drave -n "__fish_drave_needs_command" -f -a "limit" -d 'Set, clear and list rate limits'
complete -c drave -n "__fish_drave_needs_command" -f -a "compact" -d 'Free what topics are not to keep: retention and compaction now'
complete -c drave -n "__fish_drave_needs_command" -f -a "inspect" -d 'Look at a store, its topics, segments, frames and cursors'
complete -c drave -n "__fish_drave_needs_command" -f -a "verify" -d 'Read every byte, check every checksum and link'
complete -c drave -n "__fish_drave_needs_command" -f -a "metrics" -d 'Print the state of the store for Prometheus, without a server'
complete -c drave -n "__fish_drave_needs_command" -f -a "snapshot" -d 'Make a consistent copy of the store'
complete -c drave -n "__fish_drave_needs_command" -f -a "restore" -d 'Make a store, or topics of one, of a snapshot'
complete -c drave -n "__fish_drave_needs_command" -f -a "serve" -d 'Serve the store to Redis clients, in any language'
complete -c drave -n "__fish_drave_needs_command" -f -a "generate" -d 'Generate man pages, shell completions, and what runs and watches drave'
complete -c drave -n "__fish_drave_using_subcommand publish" -s d -l delimiter -d 'Records on stdin end in this; \\n \\t \\r \\0 \\\\ and \\xNN are understood' -r
complete -c drave -n "__fish_drave_using_subcommand publish" -l file -d 'Each of these files is one record' -r
complete -c drave -n "__fish_drave_using_subcommand publish" -s k -l key -d 'The key of all records' -r
complete -c drave -n "__fish_drave_using_subcommand publish" -s K -l key-separator -d 'A record\'s key is what stands before the first of these; a record without one has no key. The same escapes as in --delimiter' -r
complete -c drave -n "__fish_drave_using_subcommand publish" -l key-from -d 'A record is JSON, and its key is the member at this path: .a.b, .a["b.c"], .a[0]. Absent or null: no key; not a string: the JSON text that stands there; not JSON: exit 10 with the line\'s number' -r
complete -c drave -n "__fish_drave_using_subcommand publish" -s H -l header -d 'A header of all records; may be given several times' -r
complete -c drave -n "__fish_drave_using_subcommand publish" -l durability -d 'A level above the topic\'s: none < async < sync. It may only be raised' -r -f -a "none\t''
async\t''
sync\t''"
complete -c drave -n "__fish_drave_using_subcommand publish" -l expect-offset -d 'Publish only if the first record gets this offset, and each further one the next; else exit 12' -r
complete -c drave -n "__fish_drave_using_subcommand publish" -l limit-wait -d 'How long each batch waits where rate limits hold it up. Without: it is refused at once, exit 9, and stderr says when to come again. A batch larger than a limit\'s burst is published in pieces' -r
complete -c drave -n "__fish_drave_using_subcommand publish" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand publish" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand publish" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand publish" -s 0 -l nul -d 'Records on stdin end in NUL instead of a newline, as find -print0 writes them'
complete -c drave -n "__fish_drave_using_subcommand publish" -l whole -d 'All of stdin is one record'
complete -c drave -n "__fish_drave_using_subcommand publish" -l json -d 'Records are objects, one a line, as --json of tail and replay prints them; their offset, id and time are ignored, and their topic too unless --by-topic is given'
complete -c drave -n "__fish_drave_using_subcommand publish" -l by-topic -d 'With --json: each record goes into the topic that its object names; no TOPIC is given'
complete -c drave -n "__fish_drave_using_subcommand publish" -l skip-bad -d 'With --json or --key-from: leave out lines that cannot be read, count them, exit 10 at the end'
complete -c drave -n "__fish_drave_using_subcommand publish" -l tombstone -d 'Publish a null under --key: compaction then forgets the key'
complete -c drave -n "__fish_drave_using_subcommand publish" -l receipts -d 'Print "offset<TAB>id<TAB>level" for each record once it is stored at that level'
complete -c drave -n "__fish_drave_using_subcommand publish" -l no-create -d 'A missing topic is an error (exit 3), and so is a missing store (exit 11)'
complete -c drave -n "__fish_drave_using_subcommand publish" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand publish" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand publish" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand publish" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand tail" -s n -d 'Start N records before the end, counted after filters' -r
complete -c drave -n "__fish_drave_using_subcommand tail" -l as -d 'Keep under NAME which records were printed, and start after them the next time' -r
complete -c drave -n "__fish_drave_using_subcommand tail" -s k -l key -d 'Only records with this key' -r
complete -c drave -n "__fish_drave_using_subcommand tail" -s H -l header -d 'Only records with this header; repeatable, all must be there' -r
complete -c drave -n "__fish_drave_using_subcommand tail" -l grep -d 'Only records whose value matches this regular expression' -r
complete -c drave -n "__fish_drave_using_subcommand tail" -s o -l format -d 'Print each record as FORMAT says, as \'%o %k %v\\n\'; see below' -r
complete -c drave -n "__fish_drave_using_subcommand tail" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand tail" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand tail" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand tail" -s f -l follow -d 'Go on with what is published, until stopped or until nobody reads the output'
complete -c drave -n "__fish_drave_using_subcommand tail" -l wait -d 'Wait for topics that do not exist yet; all their records are printed'
complete -c drave -n "__fish_drave_using_subcommand tail" -s 0 -l nul -d 'End each value with NUL instead of a newline'
complete -c drave -n "__fish_drave_using_subcommand tail" -l json -d 'Print each record as a JSON object on a line of its own'
complete -c drave -n "__fish_drave_using_subcommand tail" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand tail" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand tail" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand tail" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand replay" -l from -d 'The first record; see Positions below' -r
complete -c drave -n "__fish_drave_using_subcommand replay" -l until -d 'The first record that is left out' -r
complete -c drave -n "__fish_drave_using_subcommand replay" -l range -d 'Both at once, as 100..200, -10..end or @2h..@1h' -r
complete -c drave -n "__fish_drave_using_subcommand replay" -s n -d 'Stop after N records, counted after filters' -r
complete -c drave -n "__fish_drave_using_subcommand replay" -l speed -d 'The pace: 1x as it was, 10x ten times as fast, max without waiting' -r
complete -c drave -n "__fish_drave_using_subcommand replay" -l into -d 'Publish the records to this topic instead of printing them; they keep their fields and get new IDs' -r
complete -c drave -n "__fish_drave_using_subcommand replay" -l limit-wait -d 'With --into: how long each batch waits where rate limits hold it up. Without: it is refused at once, exit 9. A batch larger than a limit\'s burst is published in pieces' -r
complete -c drave -n "__fish_drave_using_subcommand replay" -s k -l key -d 'Only records with this key' -r
complete -c drave -n "__fish_drave_using_subcommand replay" -s H -l header -d 'Only records with this header; repeatable, all must be there' -r
complete -c drave -n "__fish_drave_using_subcommand replay" -l grep -d 'Only records whose value matches this regular expression' -r
complete -c drave -n "__fish_drave_using_subcommand replay" -s o -l format -d 'Print each record as FORMAT says, as \'%o %k %v\\n\'; see below' -r
complete -c drave -n "__fish_drave_using_subcommand replay" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand replay" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand replay" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand replay" -s 0 -l nul -d 'End each value with NUL instead of a newline'
complete -c drave -n "__fish_drave_using_subcommand replay" -l json -d 'Print each record as a JSON object on a line of its own'
complete -c drave -n "__fish_drave_using_subcommand replay" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand replay" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand replay" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand replay" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand consume" -s g -l group -d 'The group' -r
complete -c drave -n "__fish_drave_using_subcommand consume" -l consumer -d 'Work under this name [default: made up, and gone with this run]' -r
complete -c drave -n "__fish_drave_using_subcommand consume" -l from -d 'Where a group that is made now begins' -r
complete -c drave -n "__fish_drave_using_subcommand consume" -s n -d 'Stop after N records' -r
complete -c drave -n "__fish_drave_using_subcommand consume" -l idle -d 'Stop when nothing came for this long' -r
complete -c drave -n "__fish_drave_using_subcommand consume" -l order -d 'What is kept in order: none, key (records of one key go to one member at a time) or topic [default: none]' -r
complete -c drave -n "__fish_drave_using_subcommand consume" -l assign -d 'How keys are dealt to members: range, round-robin, sticky or consistent-hash [default: sticky]' -r
complete -c drave -n "__fish_drave_using_subcommand consume" -l lease -d 'How long a member may be silent before others get what it holds [default: 30s]' -r
complete -c drave -n "__fish_drave_using_subcommand consume" -l max-attempts -d 'Deliveries before a record is dead-lettered; 0 = for ever [default: 5]' -r
complete -c drave -n "__fish_drave_using_subcommand consume" -l backoff -d 'The pause before a retry, the first and the longest [default: 1s..5m]' -r
complete -c drave -n "__fish_drave_using_subcommand consume" -s o -l format -d 'Print each record as FORMAT says, as \'%o %k %v\\n\'; see below' -r
complete -c drave -n "__fish_drave_using_subcommand consume" -l exec -d 'Run CMD for each record, its value on stdin; all words that follow are CMD\'s' -r
complete -c drave -n "__fish_drave_using_subcommand consume" -s P -d 'Run so many commands at once' -r
complete -c drave -n "__fish_drave_using_subcommand consume" -l batch -d 'Give each command up to N records, as JSON objects a line on its stdin, with one verdict for all' -r
complete -c drave -n "__fish_drave_using_subcommand consume" -l exec-timeout -d 'How long a command may run; then it gets TERM, and KILL after 5 s' -r
complete -c drave -n "__fish_drave_using_subcommand consume" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand consume" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand consume" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand consume" -l wait -d 'Wait for a topic that does not exist yet'
complete -c drave -n "__fish_drave_using_subcommand consume" -l drain -d 'Stop once the group has settled all that is in the topic'
complete -c drave -n "__fish_drave_using_subcommand consume" -l no-ack -d 'Settle each record by its delivery: at most once'
complete -c drave -n "__fish_drave_using_subcommand consume" -l manual -d 'Print a receipt with each record, for group ack and nack: nothing is settled by printing it'
complete -c drave -n "__fish_drave_using_subcommand consume" -s 0 -l nul -d 'End each value with NUL instead of a newline'
complete -c drave -n "__fish_drave_using_subcommand consume" -l json -d 'Print each record as a JSON object on a line of its own'
complete -c drave -n "__fish_drave_using_subcommand consume" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand consume" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand consume" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand consume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand group; and not __fish_seen_subcommand_from create set seek pause resume delete list show ack nack" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand group; and not __fish_seen_subcommand_from create set seek pause resume delete list show ack nack" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand group; and not __fish_seen_subcommand_from create set seek pause resume delete list show ack nack" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand group; and not __fish_seen_subcommand_from create set seek pause resume delete list show ack nack" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand group; and not __fish_seen_subcommand_from create set seek pause resume delete list show ack nack" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand group; and not __fish_seen_subcommand_from create set seek pause resume delete list show ack nack" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand group; and not __fish_seen_subcommand_from create set seek pause resume delete list show ack nack" -s h -l help -d 'Print help'
complete -c drave -n "__fish_drave_using_subcommand group; and not __fish_seen_subcommand_from create set seek pause resume delete list show ack nack" -f -a "create" -d 'Create a group'
complete -c drave -n "__fish_drave_using_subcommand group; and not __fish_seen_subcommand_from create set seek pause resume delete list show ack nack" -f -a "set" -d 'Change settings of a group'
complete -c drave -n "__fish_drave_using_subcommand group; and not __fish_seen_subcommand_from create set seek pause resume delete list show ack nack" -f -a "seek" -d 'Send a group to another place of its topic'
complete -c drave -n "__fish_drave_using_subcommand group; and not __fish_seen_subcommand_from create set seek pause resume delete list show ack nack" -f -a "pause" -d 'Name a group'
complete -c drave -n "__fish_drave_using_subcommand group; and not __fish_seen_subcommand_from create set seek pause resume delete list show ack nack" -f -a "resume" -d 'Name a group'
complete -c drave -n "__fish_drave_using_subcommand group; and not __fish_seen_subcommand_from create set seek pause resume delete list show ack nack" -f -a "delete" -d 'Delete a group: its place, and what is pending'
complete -c drave -n "__fish_drave_using_subcommand group; and not __fish_seen_subcommand_from create set seek pause resume delete list show ack nack" -f -a "list" -d 'List the groups of a topic'
complete -c drave -n "__fish_drave_using_subcommand group; and not __fish_seen_subcommand_from create set seek pause resume delete list show ack nack" -f -a "show" -d 'Show the settings of a group'
complete -c drave -n "__fish_drave_using_subcommand group; and not __fish_seen_subcommand_from create set seek pause resume delete list show ack nack" -f -a "ack" -d 'Settle records that consume --manual printed'
complete -c drave -n "__fish_drave_using_subcommand group; and not __fish_seen_subcommand_from create set seek pause resume delete list show ack nack" -f -a "nack" -d 'Give back records that consume --manual printed'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from create" -l from -d 'Where the group begins' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from create" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from create" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from create" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from create" -l if-missing -d 'A group that exists already is left as it is'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from create" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from create" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from create" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from set" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from set" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from set" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from set" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from set" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from set" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from seek" -l to -d 'Where the group goes on' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from seek" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from seek" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from seek" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from seek" -l dry-run -d 'Say where the group would go on, and change nothing'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from seek" -l yes -d 'Do not ask'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from seek" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from seek" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from seek" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from seek" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from pause" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from pause" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from pause" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from pause" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from pause" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from pause" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from pause" -s h -l help -d 'Print help'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from resume" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from resume" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from resume" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from resume" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from resume" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from resume" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from resume" -s h -l help -d 'Print help'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from delete" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from delete" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from delete" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from delete" -l if-exists -d 'A missing group is no error'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from delete" -l yes -d 'Do not ask'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from delete" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from delete" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from delete" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from list" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from list" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from list" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from list" -l json -d 'Print an object a line: {"group"}, or {"group_b64"} for a name that is not UTF-8'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from list" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from show" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from show" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from show" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from show" -l json -d 'Print an object a line: {"setting","value","from"}'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from show" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from ack" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from ack" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from ack" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from ack" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from ack" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from ack" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from ack" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from nack" -l delay -d 'The pause before the next delivery, in place of the group\'s backoff' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from nack" -l reason -d 'Why, for the dead letter' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from nack" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from nack" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from nack" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from nack" -l uncounted -d 'Do not count the attempt'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from nack" -l dead -d 'Dead-letter them now'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from nack" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from nack" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from nack" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand group; and __fish_seen_subcommand_from nack" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand dlq; and not __fish_seen_subcommand_from list retry drop" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and not __fish_seen_subcommand_from list retry drop" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand dlq; and not __fish_seen_subcommand_from list retry drop" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and not __fish_seen_subcommand_from list retry drop" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand dlq; and not __fish_seen_subcommand_from list retry drop" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand dlq; and not __fish_seen_subcommand_from list retry drop" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand dlq; and not __fish_seen_subcommand_from list retry drop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand dlq; and not __fish_seen_subcommand_from list retry drop" -f -a "list" -d 'List the dead letters that a group is not done with'
complete -c drave -n "__fish_drave_using_subcommand dlq; and not __fish_seen_subcommand_from list retry drop" -f -a "retry" -d 'Have a group try dead letters again'
complete -c drave -n "__fish_drave_using_subcommand dlq; and not __fish_seen_subcommand_from list retry drop" -f -a "drop" -d 'Be done with dead letters without trying them again'
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from list" -s g -l group -d 'The group' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from list" -s n -d 'The first N only' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from list" -s k -l key -d 'Only records with this key' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from list" -s H -l header -d 'Only records with this header; repeatable, all must be there' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from list" -l grep -d 'Only records whose value matches this regular expression' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from list" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from list" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from list" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from list" -l json -d 'Print an object a line, its members named as the columns'
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from list" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from retry" -s g -l group -d 'The group' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from retry" -s n -d 'The first N only' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from retry" -s k -l key -d 'Only records with this key' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from retry" -s H -l header -d 'Only records with this header; repeatable, all must be there' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l grep -d 'Only records whose value matches this regular expression' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l rate -d 'So many a time at most, as 10/s, 100/m or 1000/h' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from retry" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l dry-run -d 'Say how many would be tried again, and do nothing'
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from retry" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from retry" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from retry" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from retry" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from drop" -s g -l group -d 'The group' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from drop" -s n -d 'The first N only' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from drop" -s k -l key -d 'Only records with this key' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from drop" -s H -l header -d 'Only records with this header; repeatable, all must be there' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from drop" -l grep -d 'Only records whose value matches this regular expression' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from drop" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from drop" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from drop" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from drop" -l dry-run -d 'Say how many would be dropped, and do nothing'
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from drop" -l yes -d 'Do not ask'
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from drop" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from drop" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from drop" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand dlq; and __fish_seen_subcommand_from drop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand topic; and not __fish_seen_subcommand_from create set trim delete list show" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand topic; and not __fish_seen_subcommand_from create set trim delete list show" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand topic; and not __fish_seen_subcommand_from create set trim delete list show" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand topic; and not __fish_seen_subcommand_from create set trim delete list show" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand topic; and not __fish_seen_subcommand_from create set trim delete list show" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand topic; and not __fish_seen_subcommand_from create set trim delete list show" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand topic; and not __fish_seen_subcommand_from create set trim delete list show" -s h -l help -d 'Print help'
complete -c drave -n "__fish_drave_using_subcommand topic; and not __fish_seen_subcommand_from create set trim delete list show" -f -a "create" -d 'Create a topic with settings of its own'
complete -c drave -n "__fish_drave_using_subcommand topic; and not __fish_seen_subcommand_from create set trim delete list show" -f -a "set" -d 'Change settings of a topic'
complete -c drave -n "__fish_drave_using_subcommand topic; and not __fish_seen_subcommand_from create set trim delete list show" -f -a "trim" -d 'Remove the oldest records of a topic'
complete -c drave -n "__fish_drave_using_subcommand topic; and not __fish_seen_subcommand_from create set trim delete list show" -f -a "delete" -d 'Delete topics with all their records'
complete -c drave -n "__fish_drave_using_subcommand topic; and not __fish_seen_subcommand_from create set trim delete list show" -f -a "list" -d 'List all topics'
complete -c drave -n "__fish_drave_using_subcommand topic; and not __fish_seen_subcommand_from create set trim delete list show" -f -a "show" -d 'Show the settings of a topic'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from create" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from create" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from create" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from create" -l if-missing -d 'A topic that exists already is left as it is'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from create" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from create" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from create" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from set" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from set" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from set" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from set" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from set" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from set" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from trim" -l before -d 'Records before this position are removed' -r
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from trim" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from trim" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from trim" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from trim" -l dry-run -d 'Say what would be removed, and remove nothing'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from trim" -l yes -d 'Do not ask'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from trim" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from trim" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from trim" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from trim" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from delete" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from delete" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from delete" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from delete" -l if-exists -d 'A missing topic is no error'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from delete" -l yes -d 'Do not ask'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from delete" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from delete" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from delete" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from list" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from list" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from list" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from list" -l json -d 'Print an object a line: {"topic"}, or {"topic_b64"} for a name that is not UTF-8'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from list" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from show" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from show" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from show" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from show" -l json -d 'Print an object a line: {"setting","value","from"}'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from show" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from show" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand topic; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand limit; and not __fish_seen_subcommand_from set clear list" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand limit; and not __fish_seen_subcommand_from set clear list" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand limit; and not __fish_seen_subcommand_from set clear list" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand limit; and not __fish_seen_subcommand_from set clear list" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand limit; and not __fish_seen_subcommand_from set clear list" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand limit; and not __fish_seen_subcommand_from set clear list" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand limit; and not __fish_seen_subcommand_from set clear list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand limit; and not __fish_seen_subcommand_from set clear list" -f -a "set" -d 'Set a limit, or change one'
complete -c drave -n "__fish_drave_using_subcommand limit; and not __fish_seen_subcommand_from set clear list" -f -a "clear" -d 'Remove limits'
complete -c drave -n "__fish_drave_using_subcommand limit; and not __fish_seen_subcommand_from set clear list" -f -a "list" -d 'List all limits'
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from set" -l burst -d 'So much at once: records, or with a unit bytes, as 64KiB; without, what comes in a second' -r
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from set" -l adaptive -d 'Go slower, at half the rate at worst, while the load is high: off, on, append:DURATION, sync:DURATION, lag:RECORDS, lag:DURATION' -r
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from set" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from set" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from set" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from set" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from set" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from set" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from set" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from clear" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from clear" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from clear" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from clear" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from clear" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from clear" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from clear" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from list" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from list" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from list" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from list" -l json -d 'Print an object a line: {"limit","rate","burst","rate_bytes","burst_bytes","adaptive"}, null for what is not set'
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from list" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand limit; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand compact" -l rate -d 'Read so much a second at most, as 20MB/s' -r
complete -c drave -n "__fish_drave_using_subcommand compact" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand compact" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand compact" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand compact" -l dry-run -d 'Say what would be freed, and free nothing'
complete -c drave -n "__fish_drave_using_subcommand compact" -l json -d 'Print an object a line: {"topic","expired","removed","segments","bytes","protected_bytes"}'
complete -c drave -n "__fish_drave_using_subcommand compact" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand compact" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand compact" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand compact" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand inspect; and not __fish_seen_subcommand_from topics topic segments frames cursors groups group pending server limits" -l watch -d 'Print it again after each DURATION, as 2s, until stopped' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and not __fish_seen_subcommand_from topics topic segments frames cursors groups group pending server limits" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and not __fish_seen_subcommand_from topics topic segments frames cursors groups group pending server limits" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand inspect; and not __fish_seen_subcommand_from topics topic segments frames cursors groups group pending server limits" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and not __fish_seen_subcommand_from topics topic segments frames cursors groups group pending server limits" -l json -d 'Print objects, one a line; their members are named as the columns, and null where a table has nothing'
complete -c drave -n "__fish_drave_using_subcommand inspect; and not __fish_seen_subcommand_from topics topic segments frames cursors groups group pending server limits" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand inspect; and not __fish_seen_subcommand_from topics topic segments frames cursors groups group pending server limits" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand inspect; and not __fish_seen_subcommand_from topics topic segments frames cursors groups group pending server limits" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand inspect; and not __fish_seen_subcommand_from topics topic segments frames cursors groups group pending server limits" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand inspect; and not __fish_seen_subcommand_from topics topic segments frames cursors groups group pending server limits" -f -a "topics" -d 'All topics'
complete -c drave -n "__fish_drave_using_subcommand inspect; and not __fish_seen_subcommand_from topics topic segments frames cursors groups group pending server limits" -f -a "topic" -d 'All that is known of a topic'
complete -c drave -n "__fish_drave_using_subcommand inspect; and not __fish_seen_subcommand_from topics topic segments frames cursors groups group pending server limits" -f -a "segments" -d 'The segment files of a topic'
complete -c drave -n "__fish_drave_using_subcommand inspect; and not __fish_seen_subcommand_from topics topic segments frames cursors groups group pending server limits" -f -a "frames" -d 'The frames in the segment files of a topic, or in one such file'
complete -c drave -n "__fish_drave_using_subcommand inspect; and not __fish_seen_subcommand_from topics topic segments frames cursors groups group pending server limits" -f -a "cursors" -d 'The places that tail --as NAME keeps'
complete -c drave -n "__fish_drave_using_subcommand inspect; and not __fish_seen_subcommand_from topics topic segments frames cursors groups group pending server limits" -f -a "groups" -d 'Consumer groups, and how far behind they are'
complete -c drave -n "__fish_drave_using_subcommand inspect; and not __fish_seen_subcommand_from topics topic segments frames cursors groups group pending server limits" -f -a "group" -d 'The consumers of a group'
complete -c drave -n "__fish_drave_using_subcommand inspect; and not __fish_seen_subcommand_from topics topic segments frames cursors groups group pending server limits" -f -a "pending" -d 'What a group has been given and has not settled'
complete -c drave -n "__fish_drave_using_subcommand inspect; and not __fish_seen_subcommand_from topics topic segments frames cursors groups group pending server limits" -f -a "server" -d 'The server of the store: connections, commands, errors, latencies, rates'
complete -c drave -n "__fish_drave_using_subcommand inspect; and not __fish_seen_subcommand_from topics topic segments frames cursors groups group pending server limits" -f -a "limits" -d 'Rate limits, and what they did'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from topics" -l watch -d 'Print it again after each DURATION, as 2s, until stopped' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from topics" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from topics" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from topics" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from topics" -l json -d 'Print objects, one a line; their members are named as the columns, and null where a table has nothing'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from topics" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from topics" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from topics" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from topics" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from topic" -l watch -d 'Print it again after each DURATION, as 2s, until stopped' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from topic" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from topic" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from topic" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from topic" -l json -d 'Print objects, one a line; their members are named as the columns, and null where a table has nothing'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from topic" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from topic" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from topic" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from topic" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from segments" -l watch -d 'Print it again after each DURATION, as 2s, until stopped' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from segments" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from segments" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from segments" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from segments" -l json -d 'Print objects, one a line; their members are named as the columns, and null where a table has nothing'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from segments" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from segments" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from segments" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from segments" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from frames" -l segment -d 'Only the segment with this base offset' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from frames" -l watch -d 'Print it again after each DURATION, as 2s, until stopped' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from frames" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from frames" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from frames" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from frames" -l json -d 'Print objects, one a line; their members are named as the columns, and null where a table has nothing'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from frames" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from frames" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from frames" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from frames" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from cursors" -l watch -d 'Print it again after each DURATION, as 2s, until stopped' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from cursors" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from cursors" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from cursors" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from cursors" -l json -d 'Print objects, one a line; their members are named as the columns, and null where a table has nothing'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from cursors" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from cursors" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from cursors" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from cursors" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from groups" -l fail-above -d 'Exit 20 if a lag is above this: a number of records, or how old they are, as 30s' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from groups" -l watch -d 'Print it again after each DURATION, as 2s, until stopped' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from groups" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from groups" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from groups" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from groups" -l json -d 'Print objects, one a line; their members are named as the columns, and null where a table has nothing'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from groups" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from groups" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from groups" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from groups" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from group" -l watch -d 'Print it again after each DURATION, as 2s, until stopped' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from group" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from group" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from group" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from group" -l json -d 'Print objects, one a line; their members are named as the columns, and null where a table has nothing'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from group" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from group" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from group" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from group" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from pending" -l watch -d 'Print it again after each DURATION, as 2s, until stopped' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from pending" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from pending" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from pending" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from pending" -l json -d 'Print objects, one a line; their members are named as the columns, and null where a table has nothing'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from pending" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from pending" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from pending" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from pending" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from server" -l by -d 'A row for each, in place of the server as a whole' -r -f -a "topic\t''
command\t''
error\t''
client\t''"
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from server" -l password-file -d 'The file that holds the server\'s password in its first line [default: DRAVE_PASSWORD]' -r -F
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from server" -l watch -d 'Print it again after each DURATION, as 2s, until stopped' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from server" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from server" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from server" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from server" -l json -d 'Print objects, one a line; their members are named as the columns, and null where a table has nothing'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from server" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from server" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from server" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from server" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from limits" -l watch -d 'Print it again after each DURATION, as 2s, until stopped' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from limits" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from limits" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from limits" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from limits" -l json -d 'Print objects, one a line; their members are named as the columns, and null where a table has nothing'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from limits" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from limits" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from limits" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand inspect; and __fish_seen_subcommand_from limits" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand verify" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand verify" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand verify" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand verify" -l repair -d 'Repair what is found'
complete -c drave -n "__fish_drave_using_subcommand verify" -l dry-run -d 'Say what is to be repaired, and repair nothing'
complete -c drave -n "__fish_drave_using_subcommand verify" -l yes -d 'Do not ask'
complete -c drave -n "__fish_drave_using_subcommand verify" -l json -d 'Print an object for each finding: {"topic","severity","path","position","from","until","what"}'
complete -c drave -n "__fish_drave_using_subcommand verify" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand verify" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand verify" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand metrics" -s o -l output -d 'Write into this file, at once and as a whole (beside it, then renamed), in place of stdout' -r -F
complete -c drave -n "__fish_drave_using_subcommand metrics" -l namespace -d 'What all names begin with' -r
complete -c drave -n "__fish_drave_using_subcommand metrics" -l label -d 'A label for all samples; repeatable' -r
complete -c drave -n "__fish_drave_using_subcommand metrics" -l labels-max -d 'So many topics have series of their own, the first ones by name, and so many groups and limits; the others are counted. The sums are those of all' -r
complete -c drave -n "__fish_drave_using_subcommand metrics" -l snapshots -d 'Tell also of the snapshots in this directory: how many, and when the newest was made' -r -F
complete -c drave -n "__fish_drave_using_subcommand metrics" -l password-file -d 'The file that holds the server\'s password in its first line [default: DRAVE_PASSWORD]' -r -F
complete -c drave -n "__fish_drave_using_subcommand metrics" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand metrics" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand metrics" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand metrics" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand metrics" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand metrics" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand metrics" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand snapshot" -l keep -d 'Then remove all but the N newest snapshots in DEST; counted, and removed, are those of this store and the same topics only' -r
complete -c drave -n "__fish_drave_using_subcommand snapshot" -l keep-daily -d 'Keep only the last snapshot of each of the last N days that have any; with --keep, also the newest' -r
complete -c drave -n "__fish_drave_using_subcommand snapshot" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand snapshot" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand snapshot" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand snapshot" -l verify -d 'Read all of it back before it counts; what is wrong: exit 7, and there is no snapshot'
complete -c drave -n "__fish_drave_using_subcommand snapshot" -l json -d 'Print an object: {"snapshot","topics","files","bytes","bytes_copied"}'
complete -c drave -n "__fish_drave_using_subcommand snapshot" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand snapshot" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand snapshot" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand snapshot" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand restore" -l into -d 'The store to make, or to put topics into' -r
complete -c drave -n "__fish_drave_using_subcommand restore" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand restore" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand restore" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand restore" -l verify -d 'Then read the restored topics and groups as `drave verify` does; damage: exit 7'
complete -c drave -n "__fish_drave_using_subcommand restore" -l replace -d 'Replace topics that are there already'
complete -c drave -n "__fish_drave_using_subcommand restore" -l yes -d 'Do not ask'
complete -c drave -n "__fish_drave_using_subcommand restore" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand restore" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand restore" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand serve" -l resp -d 'Also listen on this address, as 127.0.0.1:7379 or [::1]:7379; repeatable. Port 0: any free one' -r
complete -c drave -n "__fish_drave_using_subcommand serve" -l password-file -d 'Clients have to say the password that this file holds (its first line): AUTH, or HELLO 3 AUTH default PASSWORD' -r -F
complete -c drave -n "__fish_drave_using_subcommand serve" -l slow-subscriber -d 'What becomes of messages for a subscriber that does not keep up' -r -f -a "drop-oldest\t'What waits longest goes'
drop-newest\t'What comes now goes'
close\t'The subscriber is closed'"
complete -c drave -n "__fish_drave_using_subcommand serve" -l subscriber-buffer -d 'Bytes of messages kept for a subscriber that does not keep up' -r
complete -c drave -n "__fish_drave_using_subcommand serve" -l max-clients -d 'The most connections at once' -r
complete -c drave -n "__fish_drave_using_subcommand serve" -l query-buffer -d 'The largest request: what a client has sent beyond it closes the connection' -r
complete -c drave -n "__fish_drave_using_subcommand serve" -l argument-size -d 'The largest argument of a request' -r
complete -c drave -n "__fish_drave_using_subcommand serve" -l output-buffer -d 'The largest reply: beyond it the connection is closed. Who does not read has 256 KiB of replies made at a time' -r
complete -c drave -n "__fish_drave_using_subcommand serve" -l idle-timeout -d 'Close connections that say nothing for so long; those that wait or listen are left alone [default: never]' -r
complete -c drave -n "__fish_drave_using_subcommand serve" -l snapshot-every -d 'Make a snapshot so long after the newest one in the directory of --snapshot-to' -r
complete -c drave -n "__fish_drave_using_subcommand serve" -l snapshot-to -d 'Where to make snapshots, as `drave snapshot DEST` does' -r -F
complete -c drave -n "__fish_drave_using_subcommand serve" -l snapshot-keep -d 'Then remove all but the N newest of this store [default: none is removed]' -r
complete -c drave -n "__fish_drave_using_subcommand serve" -l upkeep-every -d 'How often retention and compaction look after the topics' -r
complete -c drave -n "__fish_drave_using_subcommand serve" -l log-format -d 'How the log on stderr is written' -r -f -a "text\t''
json\t''"
complete -c drave -n "__fish_drave_using_subcommand serve" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand serve" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand serve" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand serve" -l allow-flush -d 'Let FLUSHDB and FLUSHALL delete every topic'
complete -c drave -n "__fish_drave_using_subcommand serve" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand serve" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand serve" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c drave -n "__fish_drave_using_subcommand generate; and not __fish_seen_subcommand_from man completions grafana alerts systemd" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand generate; and not __fish_seen_subcommand_from man completions grafana alerts systemd" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand generate; and not __fish_seen_subcommand_from man completions grafana alerts systemd" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand generate; and not __fish_seen_subcommand_from man completions grafana alerts systemd" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand generate; and not __fish_seen_subcommand_from man completions grafana alerts systemd" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand generate; and not __fish_seen_subcommand_from man completions grafana alerts systemd" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand generate; and not __fish_seen_subcommand_from man completions grafana alerts systemd" -s h -l help -d 'Print help'
complete -c drave -n "__fish_drave_using_subcommand generate; and not __fish_seen_subcommand_from man completions grafana alerts systemd" -f -a "man" -d 'Man pages: the main page on stdout, or with DIR the pages of all commands, as files in there'
complete -c drave -n "__fish_drave_using_subcommand generate; and not __fish_seen_subcommand_from man completions grafana alerts systemd" -f -a "completions" -d 'Completions for a shell, on stdout'
complete -c drave -n "__fish_drave_using_subcommand generate; and not __fish_seen_subcommand_from man completions grafana alerts systemd" -f -a "grafana" -d 'A dashboard for Grafana, of what `drave metrics` prints, on stdout'
complete -c drave -n "__fish_drave_using_subcommand generate; and not __fish_seen_subcommand_from man completions grafana alerts systemd" -f -a "alerts" -d 'Alert rules for Prometheus, over what `drave metrics` prints, on stdout'
complete -c drave -n "__fish_drave_using_subcommand generate; and not __fish_seen_subcommand_from man completions grafana alerts systemd" -f -a "systemd" -d 'A unit for systemd that runs `drave serve`, on stdout'
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from man" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from man" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from man" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from man" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from man" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from man" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from man" -s h -l help -d 'Print help'
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from completions" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from completions" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from completions" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from completions" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from completions" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from completions" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from completions" -s h -l help -d 'Print help'
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from grafana" -l namespace -d 'What all names begin with' -r
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from grafana" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from grafana" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from grafana" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from grafana" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from grafana" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from grafana" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from grafana" -s h -l help -d 'Print help'
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from alerts" -l namespace -d 'What all names begin with' -r
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from alerts" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from alerts" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from alerts" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from alerts" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from alerts" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from alerts" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from alerts" -s h -l help -d 'Print help'
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from systemd" -s s -l store -d 'The store: a directory, or file:///path [env: DRAVE_STORE] [default: $XDG_DATA_HOME/drave, else ~/.local/share/drave]' -r
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from systemd" -l color -d 'When to colour what is said on a terminal' -r -f -a "auto\t''
always\t''
never\t''"
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from systemd" -l timeout -d 'An overall time limit, as 30s or 5m: what was done until then is kept and reported, exit 124' -r
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from systemd" -s q -l quiet -d 'Say nothing on stderr but errors'
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from systemd" -s v -l verbose -d 'Show the causes of an error; twice: a debug log on stderr'
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from systemd" -l unsafe-fs -d 'Use a store though its file system is not known to keep what it has synced (network, FUSE)'
complete -c drave -n "__fish_drave_using_subcommand generate; and __fish_seen_subcommand_from systemd" -s h -l help -d 'Print help (see more with \'--help\')'
