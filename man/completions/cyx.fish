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
complete -c cyx -n "__fish_cyx_needs_command" -f -a "login" -d 'Logs this machine in: password, then a one-time code; or a wallet'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "logout" -d 'Logs this machine out: the server forgets the session, this machine its keys'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "whoami" -d 'Shows the account that is logged in'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "quota" -d 'Shows how much of the plan is used'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "status" -d 'Shows the server, the storage nodes and what a new upload would survive'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "passwd" -d 'Changes the password'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "recover" -d 'Sets a new password with the 24 recovery words'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "otp" -d 'Sets up an authenticator app as the second factor of logins'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "wallet" -d 'Links wallets that log in to the account without password and code, for miners'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "sessions" -d 'Lists and ends logins of other machines'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "apikey" -d 'Makes, lists and revokes API keys, with which scripts and machines work without a login'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "rotate" -d 'Replaces the keys of buckets, in case somebody kept them who had an API key, a login or a share'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "account" -d 'Changes the address, takes the account along, ends it, or makes new recovery words'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "audit" -d 'Shows what happened to the account: logins, refusals, changes of factors, keys and passwords'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "admin" -d 'Looks after the accounts of a server. For administrators'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "bucket" -d 'Creates, lists and deletes buckets'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "upload" -d 'Uploads files and directories'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "download" -d 'Downloads files and directories'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "list" -d 'Lists buckets, or what is in one'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "delete" -d 'Moves files and directories to the trash, or deletes them for good'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "stat" -d 'Shows all about a file or directory, and how many more lost nodes it survives: its nodes are asked'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "verify" -d 'Has storage nodes prove that files are still there, and shows what they would survive'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "cat" -d 'Writes files to standard output'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "cp" -d 'Copies a file or directory within its bucket or to another'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "mv" -d 'Renames or moves a file or directory within its bucket'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "mkdir" -d 'Makes directories'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "mount" -d 'Mounts the buckets as a directory'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "umount" -d 'Takes a mount off, after sending what was written'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "mounts" -d 'Lists the mounts and what they are doing'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "trash" -d 'Lists, restores and empties the trash of a bucket'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "node" -d 'Offers disk space to a network, looks after the storage node of this machine, and shows what it earns'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "dev" -d 'Runs a whole cluster on this machine: one server and several storage nodes'
complete -c cyx -n "__fish_cyx_needs_command" -f -a "completions" -d 'Prints a completion script for a shell'
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
complete -c cyx -n "__fish_cyx_using_subcommand login" -l wallet -d 'Logs in with the wallet whose key is in this file, as solana-keygen writes it. Nobody else may be able to read the file' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand login" -l wallet-address -d 'With --begin: prints the text that the wallet of this address is to sign' -r
complete -c cyx -n "__fish_cyx_using_subcommand login" -l signature -d 'The wallet\'s signature of that text, in base58' -r
complete -c cyx -n "__fish_cyx_using_subcommand login" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand login" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand login" -l password-stdin -d 'Reads the password from standard input, up to the first line end'
complete -c cyx -n "__fish_cyx_using_subcommand login" -l begin -d 'Only checks the password and has the code sent; prints what `--session` needs'
complete -c cyx -n "__fish_cyx_using_subcommand login" -l without-keys -d 'Does without the keys of the account: files cannot be opened by this login'
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
complete -c cyx -n "__fish_cyx_using_subcommand passwd" -l session -d 'Goes on with what `--begin` began' -r
complete -c cyx -n "__fish_cyx_using_subcommand passwd" -l otp -d 'The one-time code; without --session only that of an authenticator app, or a backup code' -r
complete -c cyx -n "__fish_cyx_using_subcommand passwd" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand passwd" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand passwd" -l password-stdin -d 'Reads the password from standard input, up to the first line end'
complete -c cyx -n "__fish_cyx_using_subcommand passwd" -l begin -d 'Only checks the password and has a code sent; prints what `--session` needs'
complete -c cyx -n "__fish_cyx_using_subcommand passwd" -l new-password-stdin -d 'Reads the new password from standard input, behind the current one if that is read from there too'
complete -c cyx -n "__fish_cyx_using_subcommand passwd" -l revoke-api-keys -d 'Revokes all API keys too'
complete -c cyx -n "__fish_cyx_using_subcommand passwd" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand passwd" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand passwd" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand passwd" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand passwd" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand recover" -s e -l email -d 'Email address of the account' -r
complete -c cyx -n "__fish_cyx_using_subcommand recover" -l session -d 'Finishes the recovery that `--begin` began' -r
complete -c cyx -n "__fish_cyx_using_subcommand recover" -l otp -d 'The mailed code' -r
complete -c cyx -n "__fish_cyx_using_subcommand recover" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand recover" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand recover" -l begin -d 'Only has a code sent; prints what `--session` needs'
complete -c cyx -n "__fish_cyx_using_subcommand recover" -l words-stdin -d 'Reads the recovery words from standard input, up to the first line end'
complete -c cyx -n "__fish_cyx_using_subcommand recover" -l password-stdin -d 'Reads the new password from standard input, behind the words if they are read from there too'
complete -c cyx -n "__fish_cyx_using_subcommand recover" -l new-words -d 'Makes new recovery words and shows them; the old ones open nothing any more'
complete -c cyx -n "__fish_cyx_using_subcommand recover" -l remove-factors -d 'Removes the authenticator app too, because it was lost'
complete -c cyx -n "__fish_cyx_using_subcommand recover" -l keep-api-keys -d 'Keeps API keys working'
complete -c cyx -n "__fish_cyx_using_subcommand recover" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand recover" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand recover" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand recover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand recover" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and not __fish_seen_subcommand_from enroll list remove backup-codes help" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand otp; and not __fish_seen_subcommand_from enroll list remove backup-codes help" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand otp; and not __fish_seen_subcommand_from enroll list remove backup-codes help" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and not __fish_seen_subcommand_from enroll list remove backup-codes help" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and not __fish_seen_subcommand_from enroll list remove backup-codes help" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and not __fish_seen_subcommand_from enroll list remove backup-codes help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and not __fish_seen_subcommand_from enroll list remove backup-codes help" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and not __fish_seen_subcommand_from enroll list remove backup-codes help" -f -a "enroll" -d 'Sets up an authenticator app: shows a QR code to scan, and takes a code of the app to confirm it'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and not __fish_seen_subcommand_from enroll list remove backup-codes help" -f -a "list" -d 'Shows where the codes of logins come from, and how many backup codes are left'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and not __fish_seen_subcommand_from enroll list remove backup-codes help" -f -a "remove" -d 'Removes the authenticator app and its backup codes; codes come by mail again'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and not __fish_seen_subcommand_from enroll list remove backup-codes help" -f -a "backup-codes" -d 'Replaces the backup codes and shows the new ones, once'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and not __fish_seen_subcommand_from enroll list remove backup-codes help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from enroll" -l session -d 'Goes on with what `--begin` began' -r
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from enroll" -l otp -d 'The one-time code; without --session only that of an authenticator app, or a backup code' -r
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from enroll" -l confirm -d 'A code of the app, which puts it in force' -r
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from enroll" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from enroll" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from enroll" -l password-stdin -d 'Reads the password from standard input, up to the first line end'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from enroll" -l begin -d 'Only checks the password and has a code sent; prints what `--session` needs'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from enroll" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from enroll" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from enroll" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from enroll" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from enroll" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from list" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from list" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from list" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from remove" -l session -d 'Goes on with what `--begin` began' -r
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from remove" -l otp -d 'The one-time code; without --session only that of an authenticator app, or a backup code' -r
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from remove" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from remove" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from remove" -l password-stdin -d 'Reads the password from standard input, up to the first line end'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from remove" -l begin -d 'Only checks the password and has a code sent; prints what `--session` needs'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from remove" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from remove" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from remove" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from remove" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from backup-codes" -l session -d 'Goes on with what `--begin` began' -r
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from backup-codes" -l otp -d 'The one-time code; without --session only that of an authenticator app, or a backup code' -r
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from backup-codes" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from backup-codes" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from backup-codes" -l password-stdin -d 'Reads the password from standard input, up to the first line end'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from backup-codes" -l begin -d 'Only checks the password and has a code sent; prints what `--session` needs'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from backup-codes" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from backup-codes" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from backup-codes" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from backup-codes" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from backup-codes" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from help" -f -a "enroll" -d 'Sets up an authenticator app: shows a QR code to scan, and takes a code of the app to confirm it'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from help" -f -a "list" -d 'Shows where the codes of logins come from, and how many backup codes are left'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Removes the authenticator app and its backup codes; codes come by mail again'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from help" -f -a "backup-codes" -d 'Replaces the backup codes and shows the new ones, once'
complete -c cyx -n "__fish_cyx_using_subcommand otp; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and not __fish_seen_subcommand_from text link list remove help" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and not __fish_seen_subcommand_from text link list remove help" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and not __fish_seen_subcommand_from text link list remove help" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and not __fish_seen_subcommand_from text link list remove help" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and not __fish_seen_subcommand_from text link list remove help" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and not __fish_seen_subcommand_from text link list remove help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and not __fish_seen_subcommand_from text link list remove help" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and not __fish_seen_subcommand_from text link list remove help" -f -a "text" -d 'Prints the text that a wallet has to sign to be linked, for wallets whose key is not in a file'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and not __fish_seen_subcommand_from text link list remove help" -f -a "link" -d 'Links a wallet to the account: from then on a signature of it logs in, without password and code'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and not __fish_seen_subcommand_from text link list remove help" -f -a "list" -d 'Lists the wallets that log in to the account'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and not __fish_seen_subcommand_from text link list remove help" -f -a "remove" -d 'Ends the link of a wallet, and the logins that it made. Needs the password and a code'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and not __fish_seen_subcommand_from text link list remove help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from text" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from text" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from text" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from text" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from text" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from text" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from text" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from link" -l keypair -d 'The wallet\'s key, in a file as solana-keygen writes it' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from link" -l text -d 'The text that was signed, as `cyx wallet text` names it' -r
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from link" -l signature -d 'The wallet\'s signature of it, in base58' -r
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from link" -l session -d 'Goes on with what `--begin` began' -r
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from link" -l otp -d 'The one-time code; without --session only that of an authenticator app, or a backup code' -r
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from link" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from link" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from link" -l password-stdin -d 'Reads the password from standard input, up to the first line end'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from link" -l begin -d 'Only checks the password and has a code sent; prints what `--session` needs'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from link" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from link" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from link" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from link" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from link" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from list" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from list" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from list" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from remove" -l session -d 'Goes on with what `--begin` began' -r
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from remove" -l otp -d 'The one-time code; without --session only that of an authenticator app, or a backup code' -r
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from remove" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from remove" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from remove" -l password-stdin -d 'Reads the password from standard input, up to the first line end'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from remove" -l begin -d 'Only checks the password and has a code sent; prints what `--session` needs'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from remove" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from remove" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from remove" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from remove" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from help" -f -a "text" -d 'Prints the text that a wallet has to sign to be linked, for wallets whose key is not in a file'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from help" -f -a "link" -d 'Links a wallet to the account: from then on a signature of it logs in, without password and code'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from help" -f -a "list" -d 'Lists the wallets that log in to the account'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from help" -f -a "remove" -d 'Ends the link of a wallet, and the logins that it made. Needs the password and a code'
complete -c cyx -n "__fish_cyx_using_subcommand wallet; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and not __fish_seen_subcommand_from list revoke help" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and not __fish_seen_subcommand_from list revoke help" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and not __fish_seen_subcommand_from list revoke help" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and not __fish_seen_subcommand_from list revoke help" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and not __fish_seen_subcommand_from list revoke help" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and not __fish_seen_subcommand_from list revoke help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and not __fish_seen_subcommand_from list revoke help" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and not __fish_seen_subcommand_from list revoke help" -f -a "list" -d 'Lists the machines that are logged in, the one used last first'
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and not __fish_seen_subcommand_from list revoke help" -f -a "revoke" -d 'Ends logins: the server forgets the keys it kept for these machines, and they can do nothing more'
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and not __fish_seen_subcommand_from list revoke help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and __fish_seen_subcommand_from list" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and __fish_seen_subcommand_from list" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and __fish_seen_subcommand_from list" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and __fish_seen_subcommand_from revoke" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and __fish_seen_subcommand_from revoke" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and __fish_seen_subcommand_from revoke" -l all -d 'Ends every login, that of this machine too'
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and __fish_seen_subcommand_from revoke" -l others -d 'Ends every login but that of this machine'
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and __fish_seen_subcommand_from revoke" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and __fish_seen_subcommand_from revoke" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and __fish_seen_subcommand_from revoke" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and __fish_seen_subcommand_from revoke" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and __fish_seen_subcommand_from help" -f -a "list" -d 'Lists the machines that are logged in, the one used last first'
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and __fish_seen_subcommand_from help" -f -a "revoke" -d 'Ends logins: the server forgets the keys it kept for these machines, and they can do nothing more'
complete -c cyx -n "__fish_cyx_using_subcommand sessions; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and not __fish_seen_subcommand_from create list revoke help" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and not __fish_seen_subcommand_from create list revoke help" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and not __fish_seen_subcommand_from create list revoke help" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and not __fish_seen_subcommand_from create list revoke help" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and not __fish_seen_subcommand_from create list revoke help" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and not __fish_seen_subcommand_from create list revoke help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and not __fish_seen_subcommand_from create list revoke help" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and not __fish_seen_subcommand_from create list revoke help" -f -a "create" -d 'Makes an API key and shows its token, once'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and not __fish_seen_subcommand_from create list revoke help" -f -a "list" -d 'Lists the API keys and when each was last used'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and not __fish_seen_subcommand_from create list revoke help" -f -a "revoke" -d 'Revokes API keys: their tokens are refused, and the server forgets the keys it kept for them'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and not __fish_seen_subcommand_from create list revoke help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from create" -l name -d 'What it is for; shown in lists and in the audit log' -r
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from create" -l permissions -d 'What it may do: storage:read, storage:write, or both with a comma' -r
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from create" -l bucket -d 'The only bucket it may open' -r
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from create" -l expires -d 'When it ends: a time from now (90d, 12h, 1y) or a day (2027-01-31). Default: a year' -r
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from create" -l session -d 'Goes on with what `--begin` began' -r
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from create" -l otp -d 'The one-time code; without --session only that of an authenticator app, or a backup code' -r
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from create" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from create" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from create" -l password-stdin -d 'Reads the password from standard input, up to the first line end'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from create" -l begin -d 'Only checks the password and has a code sent; prints what `--session` needs'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from create" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from create" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from create" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from create" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from list" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from list" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from list" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from revoke" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from revoke" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from revoke" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from revoke" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from revoke" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from revoke" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from help" -f -a "create" -d 'Makes an API key and shows its token, once'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from help" -f -a "list" -d 'Lists the API keys and when each was last used'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from help" -f -a "revoke" -d 'Revokes API keys: their tokens are refused, and the server forgets the keys it kept for them'
complete -c cyx -n "__fish_cyx_using_subcommand apikey; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cyx -n "__fish_cyx_using_subcommand rotate" -l session -d 'Goes on with what `--begin` began; the password is needed once more' -r
complete -c cyx -n "__fish_cyx_using_subcommand rotate" -l otp -d 'The one-time code; without --session only that of an authenticator app, or a backup code' -r
complete -c cyx -n "__fish_cyx_using_subcommand rotate" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand rotate" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand rotate" -l resume -d 'Goes on with what was interrupted on this machine, instead of replacing the keys once more'
complete -c cyx -n "__fish_cyx_using_subcommand rotate" -l account -d 'Replaces the account key, the identity keys and the recovery words'
complete -c cyx -n "__fish_cyx_using_subcommand rotate" -l all-buckets -d 'Then replaces the keys of all buckets'
complete -c cyx -n "__fish_cyx_using_subcommand rotate" -s y -l yes -d 'Does not ask whether other logins and API keys may end'
complete -c cyx -n "__fish_cyx_using_subcommand rotate" -l password-stdin -d 'Reads the password from standard input, up to the first line end'
complete -c cyx -n "__fish_cyx_using_subcommand rotate" -l begin -d 'Only checks the password and has a code sent; prints what `--session` needs'
complete -c cyx -n "__fish_cyx_using_subcommand rotate" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand rotate" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand rotate" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand rotate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand rotate" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand account; and not __fish_seen_subcommand_from email export delete keep words help" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand account; and not __fish_seen_subcommand_from email export delete keep words help" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand account; and not __fish_seen_subcommand_from email export delete keep words help" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand account; and not __fish_seen_subcommand_from email export delete keep words help" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand account; and not __fish_seen_subcommand_from email export delete keep words help" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand account; and not __fish_seen_subcommand_from email export delete keep words help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand account; and not __fish_seen_subcommand_from email export delete keep words help" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand account; and not __fish_seen_subcommand_from email export delete keep words help" -f -a "email" -d 'Changes the email address, which is what you log in with'
complete -c cyx -n "__fish_cyx_using_subcommand account; and not __fish_seen_subcommand_from email export delete keep words help" -f -a "export" -d 'Writes everything that the server holds about the account to a file, one JSON document per line'
complete -c cyx -n "__fish_cyx_using_subcommand account; and not __fish_seen_subcommand_from email export delete keep words help" -f -a "delete" -d 'Has the account and all its files deleted for good, after a time of grace'
complete -c cyx -n "__fish_cyx_using_subcommand account; and not __fish_seen_subcommand_from email export delete keep words help" -f -a "keep" -d 'Keeps an account that was to be deleted'
complete -c cyx -n "__fish_cyx_using_subcommand account; and not __fish_seen_subcommand_from email export delete keep words help" -f -a "words" -d 'Makes new recovery words and shows them, once; the old ones open nothing any more. Needs the password and a code'
complete -c cyx -n "__fish_cyx_using_subcommand account; and not __fish_seen_subcommand_from email export delete keep words help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from email" -l session -d 'Goes on with what `--begin` began' -r
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from email" -l otp -d 'The one-time code; without --session only that of an authenticator app, or a backup code' -r
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from email" -l change -d 'Finishes the change that was printed as change_id' -r
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from email" -l otp-old -d 'The code from the old address' -r
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from email" -l otp-new -d 'The code from the new address' -r
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from email" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from email" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from email" -l password-stdin -d 'Reads the password from standard input, up to the first line end'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from email" -l begin -d 'Only checks the password and has a code sent; prints what `--session` needs'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from email" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from email" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from email" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from email" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from email" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from export" -s o -l output -d 'The file; `-` for standard output. Default: cyx-account-NAME.ndjson in this folder' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from export" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from export" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from export" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from export" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from export" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from export" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from delete" -l session -d 'Goes on with what `--begin` began' -r
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from delete" -l otp -d 'The one-time code; without --session only that of an authenticator app, or a backup code' -r
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from delete" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from delete" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from delete" -l password-stdin -d 'Reads the password from standard input, up to the first line end'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from delete" -l begin -d 'Only checks the password and has a code sent; prints what `--session` needs'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from delete" -l yes -d 'Does not ask whether you mean it; needed where nobody can be asked'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from delete" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from delete" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from delete" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from delete" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from keep" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from keep" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from keep" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from keep" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from keep" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from keep" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from keep" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from words" -l session -d 'Goes on with what `--begin` began' -r
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from words" -l otp -d 'The one-time code; without --session only that of an authenticator app, or a backup code' -r
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from words" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from words" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from words" -l password-stdin -d 'Reads the password from standard input, up to the first line end'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from words" -l begin -d 'Only checks the password and has a code sent; prints what `--session` needs'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from words" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from words" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from words" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from words" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from words" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from help" -f -a "email" -d 'Changes the email address, which is what you log in with'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from help" -f -a "export" -d 'Writes everything that the server holds about the account to a file, one JSON document per line'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from help" -f -a "delete" -d 'Has the account and all its files deleted for good, after a time of grace'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from help" -f -a "keep" -d 'Keeps an account that was to be deleted'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from help" -f -a "words" -d 'Makes new recovery words and shows them, once; the old ones open nothing any more. Needs the password and a code'
complete -c cyx -n "__fish_cyx_using_subcommand account; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cyx -n "__fish_cyx_using_subcommand audit" -l since -d 'Only what happened since: a time ago (7d, 12h) or a day (2026-11-01)' -r
complete -c cyx -n "__fish_cyx_using_subcommand audit" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand audit" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand audit" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand audit" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand audit" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand audit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand audit" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and not __fish_seen_subcommand_from users plan role disable audit nodes reinstate drain help" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand admin; and not __fish_seen_subcommand_from users plan role disable audit nodes reinstate drain help" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand admin; and not __fish_seen_subcommand_from users plan role disable audit nodes reinstate drain help" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and not __fish_seen_subcommand_from users plan role disable audit nodes reinstate drain help" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and not __fish_seen_subcommand_from users plan role disable audit nodes reinstate drain help" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and not __fish_seen_subcommand_from users plan role disable audit nodes reinstate drain help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and not __fish_seen_subcommand_from users plan role disable audit nodes reinstate drain help" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and not __fish_seen_subcommand_from users plan role disable audit nodes reinstate drain help" -f -a "users" -d 'Lists accounts'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and not __fish_seen_subcommand_from users plan role disable audit nodes reinstate drain help" -f -a "plan" -d 'Gives an account a plan'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and not __fish_seen_subcommand_from users plan role disable audit nodes reinstate drain help" -f -a "role" -d 'Gives an account a role'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and not __fish_seen_subcommand_from users plan role disable audit nodes reinstate drain help" -f -a "disable" -d 'Disables an account: its logins and API keys end at once. What it has stored stays'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and not __fish_seen_subcommand_from users plan role disable audit nodes reinstate drain help" -f -a "audit" -d 'Shows the audit log of the server, or checks that it is whole'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and not __fish_seen_subcommand_from users plan role disable audit nodes reinstate drain help" -f -a "nodes" -d 'Lists the storage nodes: how they are, whose they are, what they hold'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and not __fish_seen_subcommand_from users plan role disable audit nodes reinstate drain help" -f -a "reinstate" -d 'Takes a disqualified storage node back if it proves what it holds'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and not __fish_seen_subcommand_from users plan role disable audit nodes reinstate drain help" -f -a "drain" -d 'Empties a storage node: it gets nothing new, and everything on it is moved to others'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and not __fish_seen_subcommand_from users plan role disable audit nodes reinstate drain help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from users" -l search -d 'Only those whose user name or email address contains this' -r
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from users" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from users" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from users" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from users" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from users" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from users" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from users" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from plan" -l limit-gb -d 'Space in GB, if it is not that of the plan' -r
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from plan" -l traffic-gb -d 'Monthly traffic in GB, if it is not that of the plan' -r
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from plan" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from plan" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from plan" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from plan" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from plan" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from plan" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from plan" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from role" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from role" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from role" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from role" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from role" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from role" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from role" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from disable" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from disable" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from disable" -l undo -d 'Lets it work again'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from disable" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from disable" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from disable" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from disable" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from disable" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from audit" -l since -d 'Only what happened since: a time ago (7d, 12h) or a day (2026-11-01)' -r
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from audit" -l account -d 'Only what concerns the account of this id' -r
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from audit" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from audit" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from audit" -l check -d 'Checks the chain of all entries instead; exit code 1 if it is broken'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from audit" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from audit" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from audit" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from audit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from audit" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from nodes" -l state -d 'Only those in this state' -r -f -a "online\t''
suspect\t''
offline\t''
lost\t''
read-only\t''"
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from nodes" -l standing -d 'Only those with this standing, which follows from their audits' -r -f -a "vetting\t''
trusted\t''
suspended\t''
disqualified\t''"
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from nodes" -l leaving -d 'Only those that leave in this way, or not at all' -r -f -a "none\t''
draining\t''
exiting\t''
exited\t''"
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from nodes" -l owner -d 'Only those of this account: user name, email address or id' -r
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from nodes" -l region -d 'Only those in this region' -r
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from nodes" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from nodes" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from nodes" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from nodes" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from nodes" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from nodes" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from nodes" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from nodes" -f -a "show" -d 'Shows everything that is known of a storage node'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from nodes" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from reinstate" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from reinstate" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from reinstate" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from reinstate" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from reinstate" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from reinstate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from reinstate" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from drain" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from drain" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from drain" -l cancel -d 'Lets it stay after all'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from drain" -l status -d 'Only shows how far it is'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from drain" -l wait -d 'Returns when nothing is left on it'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from drain" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from drain" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from drain" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from drain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from drain" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from help" -f -a "users" -d 'Lists accounts'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from help" -f -a "plan" -d 'Gives an account a plan'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from help" -f -a "role" -d 'Gives an account a role'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from help" -f -a "disable" -d 'Disables an account: its logins and API keys end at once. What it has stored stays'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from help" -f -a "audit" -d 'Shows the audit log of the server, or checks that it is whole'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from help" -f -a "nodes" -d 'Lists the storage nodes: how they are, whose they are, what they hold'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from help" -f -a "reinstate" -d 'Takes a disqualified storage node back if it proves what it holds'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from help" -f -a "drain" -d 'Empties a storage node: it gets nothing new, and everything on it is moved to others'
complete -c cyx -n "__fish_cyx_using_subcommand admin; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
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
complete -c cyx -n "__fish_cyx_using_subcommand verify" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand verify" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand verify" -l full -d 'Has every byte proven instead of a random slice of each shard'
complete -c cyx -n "__fish_cyx_using_subcommand verify" -l strict -d 'Fails for files with a shard that is missing, also if they can be read'
complete -c cyx -n "__fish_cyx_using_subcommand verify" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand verify" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand verify" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand verify" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand cat" -l offset -d 'Begins at this byte' -r
complete -c cyx -n "__fish_cyx_using_subcommand cat" -l length -d 'Stops after this many bytes' -r
complete -c cyx -n "__fish_cyx_using_subcommand cat" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand cat" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand cat" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand cat" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand cat" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand cat" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand cat" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand cp" -l to-bucket -d 'The bucket to copy to, if it is another one' -r
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
complete -c cyx -n "__fish_cyx_using_subcommand mount" -s o -d 'Mount options, separated by commas; may be repeated' -r
complete -c cyx -n "__fish_cyx_using_subcommand mount" -s b -l bucket -d 'Mounts one bucket instead of all' -r
complete -c cyx -n "__fish_cyx_using_subcommand mount" -l uid -d 'Shows every file as owned by this user' -r
complete -c cyx -n "__fish_cyx_using_subcommand mount" -l gid -d 'Shows every file as owned by this group' -r
complete -c cyx -n "__fish_cyx_using_subcommand mount" -l umask -d 'Takes permission bits away from what is shown, as umask(1) does' -r
complete -c cyx -n "__fish_cyx_using_subcommand mount" -l cache-dir -d 'Where the journal and the cache lie; default: cache/ in ~/.cyxcloud (or CYXCLOUD_HOME)' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand mount" -l cache-size -d 'Bound of the journal and the cache on disk, for example 50G; default 10G' -r
complete -c cyx -n "__fish_cyx_using_subcommand mount" -l memory -d 'Bound of the memory for content that is read ahead or sent, for example 512M; default 256M' -r
complete -c cyx -n "__fish_cyx_using_subcommand mount" -l fsync -d 'What `fsync` waits for; default local' -r -f -a "local\t'In the journal of this machine'
remote\t'On the storage nodes, and committed'"
complete -c cyx -n "__fish_cyx_using_subcommand mount" -l close -d 'What `close` waits for; default local, which waits for nothing more than the write itself' -r -f -a "local\t'In the journal of this machine'
remote\t'On the storage nodes, and committed'"
complete -c cyx -n "__fish_cyx_using_subcommand mount" -l metrics -d 'Answers Prometheus at /metrics of this address, for example 127.0.0.1:9273' -r
complete -c cyx -n "__fish_cyx_using_subcommand mount" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand mount" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand mount" -s f -l foreground -d 'Stays in the foreground, logs to standard error and ends with the mount'
complete -c cyx -n "__fish_cyx_using_subcommand mount" -l read-only -d 'Lets nothing be changed. What an earlier mount left in the cache directory is still sent'
complete -c cyx -n "__fish_cyx_using_subcommand mount" -l allow-other -d 'Lets other users of this machine in, as far as the permissions of files go'
complete -c cyx -n "__fish_cyx_using_subcommand mount" -l discard-deleted -d 'Lets go of what could not be sent to buckets that were deleted, or are not open to this account any more. Without it that is kept'
complete -c cyx -n "__fish_cyx_using_subcommand mount" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand mount" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand mount" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand mount" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand mount" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand umount" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand umount" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand umount" -s f -l force -d 'Takes it off although it is in use or changes are pending'
complete -c cyx -n "__fish_cyx_using_subcommand umount" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand umount" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand umount" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand umount" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand umount" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand mounts" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand mounts" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand mounts" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand mounts" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand mounts" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand mounts" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand mounts" -s V -l version -d 'Print version'
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
complete -c cyx -n "__fish_cyx_using_subcommand node; and not __fish_seen_subcommand_from enroll start stop status exit list earnings help" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand node; and not __fish_seen_subcommand_from enroll start stop status exit list earnings help" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand node; and not __fish_seen_subcommand_from enroll start stop status exit list earnings help" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand node; and not __fish_seen_subcommand_from enroll start stop status exit list earnings help" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand node; and not __fish_seen_subcommand_from enroll start stop status exit list earnings help" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand node; and not __fish_seen_subcommand_from enroll start stop status exit list earnings help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand node; and not __fish_seen_subcommand_from enroll start stop status exit list earnings help" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand node; and not __fish_seen_subcommand_from enroll start stop status exit list earnings help" -f -a "enroll" -d 'Makes a token with which one machine joins as a storage node of this account, and shows it, once'
complete -c cyx -n "__fish_cyx_using_subcommand node; and not __fish_seen_subcommand_from enroll start stop status exit list earnings help" -f -a "start" -d 'Starts a storage node on this machine and returns when it is registered; leaves it running'
complete -c cyx -n "__fish_cyx_using_subcommand node; and not __fish_seen_subcommand_from enroll start stop status exit list earnings help" -f -a "stop" -d 'Stops the storage node of this machine. What it keeps stays, and is served again after the next start'
complete -c cyx -n "__fish_cyx_using_subcommand node; and not __fish_seen_subcommand_from enroll start stop status exit list earnings help" -f -a "status" -d 'Shows how the storage node of this machine is: room, traffic, audits, score, earnings'
complete -c cyx -n "__fish_cyx_using_subcommand node; and not __fish_seen_subcommand_from enroll start stop status exit list earnings help" -f -a "exit" -d 'Leaves the network for good: everything that this machine\'s node keeps is moved to others, verified, before it may go'
complete -c cyx -n "__fish_cyx_using_subcommand node; and not __fish_seen_subcommand_from enroll start stop status exit list earnings help" -f -a "list" -d 'Lists the storage nodes of the account, wherever they run'
complete -c cyx -n "__fish_cyx_using_subcommand node; and not __fish_seen_subcommand_from enroll start stop status exit list earnings help" -f -a "earnings" -d 'Shows what a storage node earned, and computes it again from signed orders and measured time'
complete -c cyx -n "__fish_cyx_using_subcommand node; and not __fish_seen_subcommand_from enroll start stop status exit list earnings help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from enroll" -l label -d 'What it is for; shown to you alone' -r
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from enroll" -l expires-hours -d 'For how many hours the token is good' -r
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from enroll" -l central-server -d 'Where nodes register, for the command that is shown; default: the port that the server names, or else 50052' -r
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from enroll" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from enroll" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from enroll" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from enroll" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from enroll" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from enroll" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from enroll" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from start" -l home -d 'Folder of the node\'s state, log and settings; default: CYXCLOUD_HOME or ~/.cyxcloud' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from start" -l storage-gb -d 'GiB to offer, at least 3; 2 of them are the network\'s reserve' -r
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from start" -l storage-path -d 'Folder of the chunks and the node\'s key; default: what node.toml says, where it was the last time, or else node-data in the node\'s folder' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from start" -l central-server -d 'Where nodes register; default: what node.toml says, the port that the server names when it is asked for a token, where this node registered last, or else port 50052 of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from start" -l public-addr -d 'Where clients reach this node, host or host:port; the server checks it' -r
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from start" -l region -d 'Region of this node, a word such as eu-west' -r
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from start" -l payout-address -d 'Where you want to be paid, a word such as an account number' -r
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from start" -l grpc-port -d 'Port for chunks; 0 is any free one' -r
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from start" -l metrics-port -d 'Port for metrics, health and `cyx node status`; 0 is any free one' -r
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from start" -l timeout -d 'Seconds to wait for the node to become ready' -r
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from start" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from start" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from start" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from start" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from start" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from start" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from start" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from stop" -l home -d 'Folder of the node\'s state, log and settings; default: CYXCLOUD_HOME or ~/.cyxcloud' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from stop" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from stop" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from stop" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from stop" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from stop" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from stop" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from stop" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from status" -l home -d 'Folder of the node\'s state, log and settings; default: CYXCLOUD_HOME or ~/.cyxcloud' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from status" -l metrics -d 'Where the node answers, if `cyx node start` did not start it, for example 127.0.0.1:9090' -r
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from status" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from status" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from status" -s w -l watch -d 'Shows it anew every two seconds until Ctrl-C'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from status" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from status" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from status" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from exit" -l home -d 'Folder of the node\'s state, log and settings; default: CYXCLOUD_HOME or ~/.cyxcloud' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from exit" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from exit" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from exit" -l status -d 'Only shows how far it is'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from exit" -l cancel -d 'Stays after all; possible until everything is moved'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from exit" -s y -l yes -d 'Does not ask whether the node shall leave'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from exit" -l no-wait -d 'Returns at once instead of waiting until everything is moved'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from exit" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from exit" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from exit" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from exit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from exit" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from list" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from list" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from list" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from list" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from earnings" -l home -d 'Folder of the node\'s state, log and settings; default: CYXCLOUD_HOME or ~/.cyxcloud' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from earnings" -l node -d 'The node; default: that of this machine, or the only one of the account' -r
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from earnings" -l epochs -d 'How many epochs, the newest first' -r
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from earnings" -l gateway -d 'Address of the server' -r
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from earnings" -l ca-file -d 'PEM file of the certificate authorities to trust instead of the operating system\'s' -r -F
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from earnings" -l verify -d 'Computes every statement again from its facts'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from earnings" -l json -d 'Prints JSON on standard output: one document, or one per line for lists'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from earnings" -s q -l quiet -d 'Prints only what was asked for, and errors'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from earnings" -s v -l verbose -d 'Says more on standard error; twice for debugging, three times for everything'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from earnings" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from earnings" -s V -l version -d 'Print version'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from help" -f -a "enroll" -d 'Makes a token with which one machine joins as a storage node of this account, and shows it, once'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from help" -f -a "start" -d 'Starts a storage node on this machine and returns when it is registered; leaves it running'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from help" -f -a "stop" -d 'Stops the storage node of this machine. What it keeps stays, and is served again after the next start'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from help" -f -a "status" -d 'Shows how the storage node of this machine is: room, traffic, audits, score, earnings'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from help" -f -a "exit" -d 'Leaves the network for good: everything that this machine\'s node keeps is moved to others, verified, before it may go'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from help" -f -a "list" -d 'Lists the storage nodes of the account, wherever they run'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from help" -f -a "earnings" -d 'Shows what a storage node earned, and computes it again from signed orders and measured time'
complete -c cyx -n "__fish_cyx_using_subcommand node; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
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
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from up" -l server-arg -d 'Passes an argument to cyx-server, now and at later starts; may be repeated. Takes the place of all that were given to an earlier `up`; an empty one gives none' -r
complete -c cyx -n "__fish_cyx_using_subcommand dev; and __fish_seen_subcommand_from up" -l node-arg -d 'Passes an argument to every cyx-node, as --server-arg does to the server' -r
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
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "register" -d 'Creates an account'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "login" -d 'Logs this machine in: password, then a one-time code; or a wallet'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "logout" -d 'Logs this machine out: the server forgets the session, this machine its keys'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "whoami" -d 'Shows the account that is logged in'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "quota" -d 'Shows how much of the plan is used'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "status" -d 'Shows the server, the storage nodes and what a new upload would survive'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "passwd" -d 'Changes the password'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "recover" -d 'Sets a new password with the 24 recovery words'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "otp" -d 'Sets up an authenticator app as the second factor of logins'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "wallet" -d 'Links wallets that log in to the account without password and code, for miners'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "sessions" -d 'Lists and ends logins of other machines'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "apikey" -d 'Makes, lists and revokes API keys, with which scripts and machines work without a login'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "rotate" -d 'Replaces the keys of buckets, in case somebody kept them who had an API key, a login or a share'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "account" -d 'Changes the address, takes the account along, ends it, or makes new recovery words'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "audit" -d 'Shows what happened to the account: logins, refusals, changes of factors, keys and passwords'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "admin" -d 'Looks after the accounts of a server. For administrators'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "bucket" -d 'Creates, lists and deletes buckets'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "upload" -d 'Uploads files and directories'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "download" -d 'Downloads files and directories'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "list" -d 'Lists buckets, or what is in one'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "delete" -d 'Moves files and directories to the trash, or deletes them for good'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "stat" -d 'Shows all about a file or directory, and how many more lost nodes it survives: its nodes are asked'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "verify" -d 'Has storage nodes prove that files are still there, and shows what they would survive'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "cat" -d 'Writes files to standard output'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "cp" -d 'Copies a file or directory within its bucket or to another'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "mv" -d 'Renames or moves a file or directory within its bucket'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "mkdir" -d 'Makes directories'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "mount" -d 'Mounts the buckets as a directory'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "umount" -d 'Takes a mount off, after sending what was written'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "mounts" -d 'Lists the mounts and what they are doing'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "trash" -d 'Lists, restores and empties the trash of a bucket'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "node" -d 'Offers disk space to a network, looks after the storage node of this machine, and shows what it earns'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "dev" -d 'Runs a whole cluster on this machine: one server and several storage nodes'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "completions" -d 'Prints a completion script for a shell'
complete -c cyx -n "__fish_cyx_using_subcommand help; and not __fish_seen_subcommand_from register login logout whoami quota status passwd recover otp wallet sessions apikey rotate account audit admin bucket upload download list delete stat verify cat cp mv mkdir mount umount mounts trash node dev completions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from otp" -f -a "enroll" -d 'Sets up an authenticator app: shows a QR code to scan, and takes a code of the app to confirm it'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from otp" -f -a "list" -d 'Shows where the codes of logins come from, and how many backup codes are left'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from otp" -f -a "remove" -d 'Removes the authenticator app and its backup codes; codes come by mail again'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from otp" -f -a "backup-codes" -d 'Replaces the backup codes and shows the new ones, once'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from wallet" -f -a "text" -d 'Prints the text that a wallet has to sign to be linked, for wallets whose key is not in a file'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from wallet" -f -a "link" -d 'Links a wallet to the account: from then on a signature of it logs in, without password and code'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from wallet" -f -a "list" -d 'Lists the wallets that log in to the account'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from wallet" -f -a "remove" -d 'Ends the link of a wallet, and the logins that it made. Needs the password and a code'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from sessions" -f -a "list" -d 'Lists the machines that are logged in, the one used last first'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from sessions" -f -a "revoke" -d 'Ends logins: the server forgets the keys it kept for these machines, and they can do nothing more'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from apikey" -f -a "create" -d 'Makes an API key and shows its token, once'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from apikey" -f -a "list" -d 'Lists the API keys and when each was last used'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from apikey" -f -a "revoke" -d 'Revokes API keys: their tokens are refused, and the server forgets the keys it kept for them'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from account" -f -a "email" -d 'Changes the email address, which is what you log in with'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from account" -f -a "export" -d 'Writes everything that the server holds about the account to a file, one JSON document per line'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from account" -f -a "delete" -d 'Has the account and all its files deleted for good, after a time of grace'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from account" -f -a "keep" -d 'Keeps an account that was to be deleted'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from account" -f -a "words" -d 'Makes new recovery words and shows them, once; the old ones open nothing any more. Needs the password and a code'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from admin" -f -a "users" -d 'Lists accounts'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from admin" -f -a "plan" -d 'Gives an account a plan'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from admin" -f -a "role" -d 'Gives an account a role'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from admin" -f -a "disable" -d 'Disables an account: its logins and API keys end at once. What it has stored stays'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from admin" -f -a "audit" -d 'Shows the audit log of the server, or checks that it is whole'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from admin" -f -a "nodes" -d 'Lists the storage nodes: how they are, whose they are, what they hold'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from admin" -f -a "reinstate" -d 'Takes a disqualified storage node back if it proves what it holds'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from admin" -f -a "drain" -d 'Empties a storage node: it gets nothing new, and everything on it is moved to others'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from bucket" -f -a "create" -d 'Creates a bucket'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from bucket" -f -a "list" -d 'Lists the buckets'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from bucket" -f -a "delete" -d 'Deletes a bucket, which must be empty unless --force is given'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from trash" -f -a "list" -d 'Lists what is in the trash of a bucket, newest first'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from trash" -f -a "restore" -d 'Restores from the trash to where it was'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from trash" -f -a "empty" -d 'Deletes what is in the trash for good'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from node" -f -a "enroll" -d 'Makes a token with which one machine joins as a storage node of this account, and shows it, once'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from node" -f -a "start" -d 'Starts a storage node on this machine and returns when it is registered; leaves it running'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from node" -f -a "stop" -d 'Stops the storage node of this machine. What it keeps stays, and is served again after the next start'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from node" -f -a "status" -d 'Shows how the storage node of this machine is: room, traffic, audits, score, earnings'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from node" -f -a "exit" -d 'Leaves the network for good: everything that this machine\'s node keeps is moved to others, verified, before it may go'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from node" -f -a "list" -d 'Lists the storage nodes of the account, wherever they run'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from node" -f -a "earnings" -d 'Shows what a storage node earned, and computes it again from signed orders and measured time'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from dev" -f -a "up" -d 'Starts the cluster and returns when it is ready; leaves it running'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from dev" -f -a "status" -d 'Shows what is running'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from dev" -f -a "stop-node" -d 'Stops one storage node'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from dev" -f -a "start-node" -d 'Starts a storage node that was stopped'
complete -c cyx -n "__fish_cyx_using_subcommand help; and __fish_seen_subcommand_from dev" -f -a "down" -d 'Stops the cluster'
