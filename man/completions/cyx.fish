# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_cyx_global_optspecs
    string join \n gateway= ca-file= json q/quiet v/verbose h/help V/version
end

function __fish_cyx_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_cyx_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_cyx_using_subcommand
    set -l cmd (__fish_cyx_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c cyx -n "__fish_cyx_needs_command" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_needs_command" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_needs_command" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_needs_command" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_needs_command" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_needs_command" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "register" -d 'Creates an account'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "login" -d 'Logs this machine in: password, then a one-time code'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "logout" -d 'Logs this machine out: the server forgets the session, this machine its keys'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "whoami" -d 'Shows the account that is logged in'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "quota" -d 'Shows how much of the plan is used'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "status" -d 'Shows the server, the storage nodes and what a new upload would survive'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "bucket" -d 'Creates, lists and deletes buckets'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "upload" -d 'Uploads files and directories'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "download" -d 'Downloads files and directories'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "list" -d 'Lists buckets, or what is in one'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "delete" -d 'Moves files and directories to the trash, or deletes them for good'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "stat" -d 'Shows all about a file or directory, and how many more lost nodes it survives: its nodes are asked'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "cat" -d 'Writes files to standard output'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "cp" -d 'Copies a file or directory within its bucket'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "mv" -d 'Renames or moves a file or directory within its bucket'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "mkdir" -d 'Makes directories'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "trash" -d 'Lists, restores and empties the trash of a bucket'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "dev" -d 'Runs a whole cluster on this machine: one server and several storage nodes'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "completions" -d 'Prints a completion script for a shell'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "_generate" -d 'Writes the man pages and completions that are kept in the repository'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cyx -n "__fish_cyx_using_subcommand register" -s e -l email -d 'Email address; codes for logging in go there' -r
complete -c cyx -n "__fish_cyx_using_subcommand register" -s u -l username -d 'User name: 3 to 32 letters, digits and underscores' -r
complete -c cyx -n "__fish_cyx_using_subcommand register" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand register" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand register" -l password-stdin -d 'Reads the password from standard input, up to the first line end'
complete -c cyx -n "__fish_cyx_using_subcommand register" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand register" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand register" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand register" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand register" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand login" -s e -l email -d 'Email address of the account' -r
complete -c cyx -n "__fish_cyx_using_subcommand login" -l session -d 'Finishes the login that `--begin` began' -r
complete -c cyx -n "__fish_cyx_using_subcommand login" -l otp -d 'The one-time code' -r
complete -c cyx -n "__fish_cyx_using_subcommand login" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand login" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand login" -l password-stdin -d 'Reads the password from standard input, up to the first line end'
complete -c cyx -n "__fish_cyx_using_subcommand login" -l begin -d 'Only checks the password and has the code sent; prints what `--session` needs'
complete -c cyx -n "__fish_cyx_using_subcommand login" -l accept-changes -d 'Goes on although the server was restored from a backup or changed its parameters for this account'
complete -c cyx -n "__fish_cyx_using_subcommand login" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand login" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand login" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand login" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand login" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand logout" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand logout" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand logout" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand logout" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand logout" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand logout" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand logout" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand whoami" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand whoami" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand whoami" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand whoami" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand whoami" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand whoami" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand whoami" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand quota" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand quota" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand quota" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand quota" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand quota" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand quota" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand quota" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand status" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand status" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand status" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand status" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand status" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand status" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and not __fish_seen_subcommand_from create list delete help" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and not __fish_seen_subcommand_from create list delete help" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and not __fish_seen_subcommand_from create list delete help" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and not __fish_seen_subcommand_from create list delete help" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and not __fish_seen_subcommand_from create list delete help" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and not __fish_seen_subcommand_from create list delete help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and not __fish_seen_subcommand_from create list delete help" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and not __fish_seen_subcommand_from create list delete help" -f -a "create" -d 'Creates a bucket'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and not __fish_seen_subcommand_from create list delete help" -f -a "list" -d 'Lists the buckets'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and not __fish_seen_subcommand_from create list delete help" -f -a "delete" -d 'Deletes a bucket, which must be empty unless --force is given'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and not __fish_seen_subcommand_from create list delete help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from create" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from create" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from create" -l durable -d 'Stores 10+10 instead of 10+4 shards: any 10 of 20 nodes may vanish, for twice the space'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from create" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from create" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from create" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from create" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from list" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from list" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from list" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from delete" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from delete" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from delete" -l force -d 'Deletes all that is in it, for good'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from delete" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from delete" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from delete" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from delete" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from help" -f -a "create" -d 'Creates a bucket'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from help" -f -a "list" -d 'Lists the buckets'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from help" -f -a "delete" -d 'Deletes a bucket, which must be empty unless --force is given'
complete -c cyx -n "__fish_cyx_using_subcommand bucket; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cyx -n "__fish_cyx_using_subcommand upload" -s b -l bucket -d 'The bucket' -r
complete -c cyx -n "__fish_cyx_using_subcommand upload" -s k -l key -d 'Key to store under; with several paths or a trailing slash, the folder to store them in' -r
complete -c cyx -n "__fish_cyx_using_subcommand upload" -l include -d 'Only files that match; may be repeated. `*` and `?` stop at slashes, `**` does not; a pattern without a slash matches at any depth' -r
complete -c cyx -n "__fish_cyx_using_subcommand upload" -l exclude -d 'Not what matches; may be repeated and wins over --include. A directory that matches is left out with all it contains' -r
complete -c cyx -n "__fish_cyx_using_subcommand upload" -l if-match -d 'Refuses (exit code 7) unless this is the version that would be replaced' -r
complete -c cyx -n "__fish_cyx_using_subcommand upload" -l durability -d 'When an upload counts as done' -r -f -a "quorum\t'When enough shards are stored to survive losses; the rest is repaired in the background'
all\t'When every shard is stored'"
complete -c cyx -n "__fish_cyx_using_subcommand upload" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand upload" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand upload" -s r -l recursive -d 'Uploads directories with all they contain'
complete -c cyx -n "__fish_cyx_using_subcommand upload" -l if-absent -d 'Refuses (exit code 7) if the key exists'
complete -c cyx -n "__fish_cyx_using_subcommand upload" -l checksum -d 'Compares contents, not sizes and times, to find what is unchanged'
complete -c cyx -n "__fish_cyx_using_subcommand upload" -s n -l dry-run -d 'Says what would be uploaded and uploads nothing'
complete -c cyx -n "__fish_cyx_using_subcommand upload" -l abort -d 'Drops what an interrupted upload of these paths left behind instead of uploading'
complete -c cyx -n "__fish_cyx_using_subcommand upload" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand upload" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand upload" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand upload" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand upload" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand download" -s k -l key -d 'Key of a file, or of a directory with -r; without it, the whole bucket (needs -r)' -r
complete -c cyx -n "__fish_cyx_using_subcommand download" -s o -l output -d 'Where to: a file, a directory, or `-` for standard output' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand download" -l include -d 'Only files that match; may be repeated. `*` and `?` stop at slashes, `**` does not; a pattern without a slash matches at any depth' -r
complete -c cyx -n "__fish_cyx_using_subcommand download" -l exclude -d 'Not what matches; may be repeated and wins over --include. A directory that matches is left out with all it contains' -r
complete -c cyx -n "__fish_cyx_using_subcommand download" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand download" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand download" -s r -l recursive -d 'Downloads a directory with all it contains'
complete -c cyx -n "__fish_cyx_using_subcommand download" -l no-clobber -d 'Leaves files that exist as they are'
complete -c cyx -n "__fish_cyx_using_subcommand download" -s n -l dry-run -d 'Says what would be downloaded and downloads nothing'
complete -c cyx -n "__fish_cyx_using_subcommand download" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand download" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand download" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand download" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand download" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand list" -l prefix -d 'Only keys that begin like this' -r
complete -c cyx -n "__fish_cyx_using_subcommand list" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand list" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand list" -s l -l long -d 'Shows permissions, size, time and version'
complete -c cyx -n "__fish_cyx_using_subcommand list" -s r -l recursive -d 'Lists directories with all they contain'
complete -c cyx -n "__fish_cyx_using_subcommand list" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand list" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand list" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand list" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand delete" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand delete" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand delete" -s r -l recursive -d 'Deletes directories with all they contain'
complete -c cyx -n "__fish_cyx_using_subcommand delete" -l permanent -d 'Deletes for good instead of moving to the trash'
complete -c cyx -n "__fish_cyx_using_subcommand delete" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand delete" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand delete" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand delete" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand stat" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand stat" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand stat" -l scrub -d 'Has the nodes read what they keep of the file; without it they say what they know. Takes a while for large files'
complete -c cyx -n "__fish_cyx_using_subcommand stat" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand stat" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand stat" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand stat" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand stat" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand cat" -l offset -d 'Begins at this byte' -r
complete -c cyx -n "__fish_cyx_using_subcommand cat" -l length -d 'Stops after this many bytes' -r
complete -c cyx -n "__fish_cyx_using_subcommand cat" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand cat" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand cat" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand cat" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand cat" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand cat" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand cat" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand cp" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand cp" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand cp" -s r -l recursive -d 'Copies a directory with all it contains'
complete -c cyx -n "__fish_cyx_using_subcommand cp" -l no-clobber -d 'Refuses (exit code 7) if the new key exists'
complete -c cyx -n "__fish_cyx_using_subcommand cp" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand cp" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand cp" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand cp" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand cp" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand mv" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand mv" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand mv" -l no-clobber -d 'Refuses (exit code 7) if the new key exists'
complete -c cyx -n "__fish_cyx_using_subcommand mv" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand mv" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand mv" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand mv" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand mv" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand mkdir" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand mkdir" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand mkdir" -s p -l parents -d 'Makes missing parents too, and does not mind if the directory exists'
complete -c cyx -n "__fish_cyx_using_subcommand mkdir" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand mkdir" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand mkdir" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand mkdir" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand mkdir" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and not __fish_seen_subcommand_from list restore empty help" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand trash; and not __fish_seen_subcommand_from list restore empty help" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand trash; and not __fish_seen_subcommand_from list restore empty help" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and not __fish_seen_subcommand_from list restore empty help" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and not __fish_seen_subcommand_from list restore empty help" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and not __fish_seen_subcommand_from list restore empty help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and not __fish_seen_subcommand_from list restore empty help" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and not __fish_seen_subcommand_from list restore empty help" -f -a "list" -d 'Lists what is in the trash of a bucket, newest first'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and not __fish_seen_subcommand_from list restore empty help" -f -a "restore" -d 'Restores from the trash to where it was'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and not __fish_seen_subcommand_from list restore empty help" -f -a "empty" -d 'Deletes what is in the trash for good'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and not __fish_seen_subcommand_from list restore empty help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from list" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from list" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from list" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from restore" -l as -d 'Restores under another name in the same directory; with one key only' -r
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from restore" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from restore" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from restore" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from restore" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from restore" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from restore" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from empty" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from empty" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from empty" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from empty" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from empty" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from empty" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from empty" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from help" -f -a "list" -d 'Lists what is in the trash of a bucket, newest first'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from help" -f -a "restore" -d 'Restores from the trash to where it was'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from help" -f -a "empty" -d 'Deletes what is in the trash for good'
complete -c cyx -n "__fish_cyx_using_subcommand trash; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and not __fish_seen_subcommand_from up status stop-node start-node down help" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand dev; and not __fish_seen_subcommand_from up status stop-node start-node down help" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand dev; and not __fish_seen_subcommand_from up status stop-node start-node down help" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and not __fish_seen_subcommand_from up status stop-node start-node down help" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and not __fish_seen_subcommand_from up status stop-node start-node down help" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and not __fish_seen_subcommand_from up status stop-node start-node down help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and not __fish_seen_subcommand_from up status stop-node start-node down help" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and not __fish_seen_subcommand_from up status stop-node start-node down help" -f -a "up" -d 'Starts the cluster and returns when it is ready; leaves it running'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and not __fish_seen_subcommand_from up status stop-node start-node down help" -f -a "status" -d 'Shows what is running'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and not __fish_seen_subcommand_from up status stop-node start-node down help" -f -a "stop-node" -d 'Stops one storage node'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and not __fish_seen_subcommand_from up status stop-node start-node down help" -f -a "start-node" -d 'Starts a storage node that was stopped'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and not __fish_seen_subcommand_from up status stop-node start-node down help" -f -a "down" -d 'Stops the cluster'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and not __fish_seen_subcommand_from up status stop-node start-node down help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from up" -l dir -d 'The cluster\'s folder; default: dev/ in ~/.cyxcloud (or CYXCLOUD_HOME)' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from up" -l nodes -d 'Number of storage nodes; default 14, or as many as the folder has' -r
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from up" -l port -d 'Port of the server; default: a free one' -r
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from up" -l timeout -d 'Seconds to wait for the cluster to become ready' -r
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from up" -l server-arg -d 'Passes an argument to cyx-server, now and at later starts; may be repeated' -r
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from up" -l node-arg -d 'Passes an argument to every cyx-node, now and at later starts; may be repeated' -r
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from up" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from up" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from up" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from up" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from up" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from up" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from up" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from status" -l dir -d 'The cluster\'s folder; default: dev/ in ~/.cyxcloud (or CYXCLOUD_HOME)' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from status" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from status" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from status" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from status" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from status" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from stop-node" -l dir -d 'The cluster\'s folder; default: dev/ in ~/.cyxcloud (or CYXCLOUD_HOME)' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from stop-node" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from stop-node" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from stop-node" -l kill -d 'Kills it (SIGKILL) as a crash would, instead of letting it finish'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from stop-node" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from stop-node" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from stop-node" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from stop-node" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from stop-node" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from start-node" -l dir -d 'The cluster\'s folder; default: dev/ in ~/.cyxcloud (or CYXCLOUD_HOME)' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from start-node" -l timeout -d 'Seconds to wait for the node to become ready' -r
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from start-node" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from start-node" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from start-node" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from start-node" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from start-node" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from start-node" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from start-node" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from down" -l dir -d 'The cluster\'s folder; default: dev/ in ~/.cyxcloud (or CYXCLOUD_HOME)' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from down" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from down" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from down" -l wipe -d 'Deletes the cluster\'s data as well'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from down" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from down" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from down" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from down" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from down" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from help" -f -a "up" -d 'Starts the cluster and returns when it is ready; leaves it running'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from help" -f -a "status" -d 'Shows what is running'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from help" -f -a "stop-node" -d 'Stops one storage node'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from help" -f -a "start-node" -d 'Starts a storage node that was stopped'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from help" -f -a "down" -d 'Stops the cluster'
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cyx -n "__fish_cyx_using_subcommand completions" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand completions" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand completions" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand completions" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand completions" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand completions" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand _generate" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand _generate" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand _generate" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand _generate" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand _generate" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand _generate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand _generate" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status bucket upload download list delete stat cat cp mv mkdir trash dev completions _generate help" -f -a "register" -d 'Creates an account'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status bucket upload download list delete stat cat cp mv mkdir trash dev completions _generate help" -f -a "login" -d 'Logs this machine in: password, then a one-time code'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status bucket upload download list delete stat cat cp mv mkdir trash dev completions _generate help" -f -a "logout" -d 'Logs this machine out: the server forgets the session, this machine its keys'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status bucket upload download list delete stat cat cp mv mkdir trash dev completions _generate help" -f -a "whoami" -d 'Shows the account that is logged in'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status bucket upload download list delete stat cat cp mv mkdir trash dev completions _generate help" -f -a "quota" -d 'Shows how much of the plan is used'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status bucket upload download list delete stat cat cp mv mkdir trash dev completions _generate help" -f -a "status" -d 'Shows the server, the storage nodes and what a new upload would survive'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status bucket upload download list delete stat cat cp mv mkdir trash dev completions _generate help" -f -a "bucket" -d 'Creates, lists and deletes buckets'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status bucket upload download list delete stat cat cp mv mkdir trash dev completions _generate help" -f -a "upload" -d 'Uploads files and directories'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status bucket upload download list delete stat cat cp mv mkdir trash dev completions _generate help" -f -a "download" -d 'Downloads files and directories'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status bucket upload download list delete stat cat cp mv mkdir trash dev completions _generate help" -f -a "list" -d 'Lists buckets, or what is in one'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status bucket upload download list delete stat cat cp mv mkdir trash dev completions _generate help" -f -a "delete" -d 'Moves files and directories to the trash, or deletes them for good'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status bucket upload download list delete stat cat cp mv mkdir trash dev completions _generate help" -f -a "stat" -d 'Shows all about a file or directory, and how many more lost nodes it survives: its nodes are asked'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status bucket upload download list delete stat cat cp mv mkdir trash dev completions _generate help" -f -a "cat" -d 'Writes files to standard output'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status bucket upload download list delete stat cat cp mv mkdir trash dev completions _generate help" -f -a "cp" -d 'Copies a file or directory within its bucket'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status bucket upload download list delete stat cat cp mv mkdir trash dev completions _generate help" -f -a "mv" -d 'Renames or moves a file or directory within its bucket'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status bucket upload download list delete stat cat cp mv mkdir trash dev completions _generate help" -f -a "mkdir" -d 'Makes directories'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status bucket upload download list delete stat cat cp mv mkdir trash dev completions _generate help" -f -a "trash" -d 'Lists, restores and empties the trash of a bucket'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status bucket upload download list delete stat cat cp mv mkdir trash dev completions _generate help" -f -a "dev" -d 'Runs a whole cluster on this machine: one server and several storage nodes'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status bucket upload download list delete stat cat cp mv mkdir trash dev completions _generate help" -f -a "completions" -d 'Prints a completion script for a shell'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status bucket upload download list delete stat cat cp mv mkdir trash dev completions _generate help" -f -a "_generate" -d 'Writes the man pages and completions that are kept in the repository'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status bucket upload download list delete stat cat cp mv mkdir trash dev completions _generate help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from bucket" -f -a "create" -d 'Creates a bucket'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from bucket" -f -a "list" -d 'Lists the buckets'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from bucket" -f -a "delete" -d 'Deletes a bucket, which must be empty unless --force is given'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from trash" -f -a "list" -d 'Lists what is in the trash of a bucket, newest first'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from trash" -f -a "restore" -d 'Restores from the trash to where it was'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from trash" -f -a "empty" -d 'Deletes what is in the trash for good'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from dev" -f -a "up" -d 'Starts the cluster and returns when it is ready; leaves it running'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from dev" -f -a "status" -d 'Shows what is running'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from dev" -f -a "stop-node" -d 'Stops one storage node'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from dev" -f -a "start-node" -d 'Starts a storage node that was stopped'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from dev" -f -a "down" -d 'Stops the cluster'
