
using namespace System.Management.Automation
using namespace System.Management.Automation.Language

Register-ArgumentCompleter -Native -CommandName 'cyx' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)

    $commandElements = $commandAst.CommandElements
    $command = @(
        'cyx'
        for ($i = 1; $i -lt $commandElements.Count; $i++) {
            $element = $commandElements[$i]
            if ($element -isnot [StringConstantExpressionAst] -or
                $element.StringConstantType -ne [StringConstantType]::BareWord -or
                $element.Value.StartsWith('-') -or
                $element.Value -eq $wordToComplete) {
                break
        }
        $element.Value
    }) -join ';'

    $completions = @(switch ($command) {
        'cyx' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('register', 'register', [CompletionResultType]::ParameterValue, 'Creates an account')
            [CompletionResult]::new('login', 'login', [CompletionResultType]::ParameterValue, 'Logs this machine in: password, then a one-time code; or a wallet')
            [CompletionResult]::new('logout', 'logout', [CompletionResultType]::ParameterValue, 'Logs this machine out: the server forgets the session, this machine its keys')
            [CompletionResult]::new('whoami', 'whoami', [CompletionResultType]::ParameterValue, 'Shows the account that is logged in')
            [CompletionResult]::new('quota', 'quota', [CompletionResultType]::ParameterValue, 'Shows how much of the plan is used')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Shows the server, the storage nodes and what a new upload would survive')
            [CompletionResult]::new('passwd', 'passwd', [CompletionResultType]::ParameterValue, 'Changes the password')
            [CompletionResult]::new('recover', 'recover', [CompletionResultType]::ParameterValue, 'Sets a new password with the 24 recovery words')
            [CompletionResult]::new('otp', 'otp', [CompletionResultType]::ParameterValue, 'Sets up an authenticator app as the second factor of logins')
            [CompletionResult]::new('wallet', 'wallet', [CompletionResultType]::ParameterValue, 'Links wallets that log in to the account without password and code, for miners')
            [CompletionResult]::new('sessions', 'sessions', [CompletionResultType]::ParameterValue, 'Lists and ends logins of other machines')
            [CompletionResult]::new('apikey', 'apikey', [CompletionResultType]::ParameterValue, 'Makes, lists and revokes API keys, with which scripts and machines work without a login')
            [CompletionResult]::new('rotate', 'rotate', [CompletionResultType]::ParameterValue, 'Replaces the keys of buckets, in case somebody kept them who had an API key, a login or a share')
            [CompletionResult]::new('account', 'account', [CompletionResultType]::ParameterValue, 'Changes the address, takes the account along, ends it, or makes new recovery words')
            [CompletionResult]::new('audit', 'audit', [CompletionResultType]::ParameterValue, 'Shows what happened to the account: logins, refusals, changes of factors, keys and passwords')
            [CompletionResult]::new('admin', 'admin', [CompletionResultType]::ParameterValue, 'Looks after the accounts of a server. For administrators')
            [CompletionResult]::new('bucket', 'bucket', [CompletionResultType]::ParameterValue, 'Creates, lists and deletes buckets')
            [CompletionResult]::new('upload', 'upload', [CompletionResultType]::ParameterValue, 'Uploads files and directories')
            [CompletionResult]::new('download', 'download', [CompletionResultType]::ParameterValue, 'Downloads files and directories')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Lists buckets, or what is in one')
            [CompletionResult]::new('delete', 'delete', [CompletionResultType]::ParameterValue, 'Moves files and directories to the trash, or deletes them for good')
            [CompletionResult]::new('stat', 'stat', [CompletionResultType]::ParameterValue, 'Shows all about a file or directory, and how many more lost nodes it survives: its nodes are asked')
            [CompletionResult]::new('verify', 'verify', [CompletionResultType]::ParameterValue, 'Has storage nodes prove that files are still there, and shows what they would survive')
            [CompletionResult]::new('cat', 'cat', [CompletionResultType]::ParameterValue, 'Writes files to standard output')
            [CompletionResult]::new('cp', 'cp', [CompletionResultType]::ParameterValue, 'Copies a file or directory within its bucket or to another')
            [CompletionResult]::new('mv', 'mv', [CompletionResultType]::ParameterValue, 'Renames or moves a file or directory within its bucket')
            [CompletionResult]::new('mkdir', 'mkdir', [CompletionResultType]::ParameterValue, 'Makes directories')
            [CompletionResult]::new('mount', 'mount', [CompletionResultType]::ParameterValue, 'Mounts the buckets as a directory')
            [CompletionResult]::new('umount', 'umount', [CompletionResultType]::ParameterValue, 'Takes a mount off, after sending what was written')
            [CompletionResult]::new('mounts', 'mounts', [CompletionResultType]::ParameterValue, 'Lists the mounts and what they are doing')
            [CompletionResult]::new('trash', 'trash', [CompletionResultType]::ParameterValue, 'Lists, restores and empties the trash of a bucket')
            [CompletionResult]::new('node', 'node', [CompletionResultType]::ParameterValue, 'Offers disk space to a network, looks after the storage node of this machine, and shows what it earns')
            [CompletionResult]::new('dev', 'dev', [CompletionResultType]::ParameterValue, 'Runs a whole cluster on this machine: one server and several storage nodes')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Prints a completion script for a shell')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;register' {
            [CompletionResult]::new('-e', '-e', [CompletionResultType]::ParameterName, 'Email address; codes for logging in go there')
            [CompletionResult]::new('--email', '--email', [CompletionResultType]::ParameterName, 'Email address; codes for logging in go there')
            [CompletionResult]::new('-u', '-u', [CompletionResultType]::ParameterName, 'User name: 3 to 32 letters, digits and underscores')
            [CompletionResult]::new('--username', '--username', [CompletionResultType]::ParameterName, 'User name: 3 to 32 letters, digits and underscores')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--password-stdin', '--password-stdin', [CompletionResultType]::ParameterName, 'Reads the password from standard input, up to the first line end')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;login' {
            [CompletionResult]::new('-e', '-e', [CompletionResultType]::ParameterName, 'Email address of the account')
            [CompletionResult]::new('--email', '--email', [CompletionResultType]::ParameterName, 'Email address of the account')
            [CompletionResult]::new('--session', '--session', [CompletionResultType]::ParameterName, 'Finishes the login that `--begin` began')
            [CompletionResult]::new('--otp', '--otp', [CompletionResultType]::ParameterName, 'The one-time code')
            [CompletionResult]::new('--wallet', '--wallet', [CompletionResultType]::ParameterName, 'Logs in with the wallet whose key is in this file, as solana-keygen writes it. Nobody else may be able to read the file')
            [CompletionResult]::new('--wallet-address', '--wallet-address', [CompletionResultType]::ParameterName, 'With --begin: prints the text that the wallet of this address is to sign')
            [CompletionResult]::new('--signature', '--signature', [CompletionResultType]::ParameterName, 'The wallet''s signature of that text, in base58')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--password-stdin', '--password-stdin', [CompletionResultType]::ParameterName, 'Reads the password from standard input, up to the first line end')
            [CompletionResult]::new('--begin', '--begin', [CompletionResultType]::ParameterName, 'Only checks the password and has the code sent; prints what `--session` needs')
            [CompletionResult]::new('--without-keys', '--without-keys', [CompletionResultType]::ParameterName, 'Does without the keys of the account: files cannot be opened by this login')
            [CompletionResult]::new('--accept-changes', '--accept-changes', [CompletionResultType]::ParameterName, 'Goes on although the server was restored from a backup or changed its parameters for this account')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;logout' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;whoami' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;quota' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;status' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;passwd' {
            [CompletionResult]::new('--session', '--session', [CompletionResultType]::ParameterName, 'Goes on with what `--begin` began')
            [CompletionResult]::new('--otp', '--otp', [CompletionResultType]::ParameterName, 'The one-time code; without --session only that of an authenticator app, or a backup code')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--password-stdin', '--password-stdin', [CompletionResultType]::ParameterName, 'Reads the password from standard input, up to the first line end')
            [CompletionResult]::new('--begin', '--begin', [CompletionResultType]::ParameterName, 'Only checks the password and has a code sent; prints what `--session` needs')
            [CompletionResult]::new('--new-password-stdin', '--new-password-stdin', [CompletionResultType]::ParameterName, 'Reads the new password from standard input, behind the current one if that is read from there too')
            [CompletionResult]::new('--revoke-api-keys', '--revoke-api-keys', [CompletionResultType]::ParameterName, 'Revokes all API keys too')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;recover' {
            [CompletionResult]::new('-e', '-e', [CompletionResultType]::ParameterName, 'Email address of the account')
            [CompletionResult]::new('--email', '--email', [CompletionResultType]::ParameterName, 'Email address of the account')
            [CompletionResult]::new('--session', '--session', [CompletionResultType]::ParameterName, 'Finishes the recovery that `--begin` began')
            [CompletionResult]::new('--otp', '--otp', [CompletionResultType]::ParameterName, 'The mailed code')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--begin', '--begin', [CompletionResultType]::ParameterName, 'Only has a code sent; prints what `--session` needs')
            [CompletionResult]::new('--words-stdin', '--words-stdin', [CompletionResultType]::ParameterName, 'Reads the recovery words from standard input, up to the first line end')
            [CompletionResult]::new('--password-stdin', '--password-stdin', [CompletionResultType]::ParameterName, 'Reads the new password from standard input, behind the words if they are read from there too')
            [CompletionResult]::new('--new-words', '--new-words', [CompletionResultType]::ParameterName, 'Makes new recovery words and shows them; the old ones open nothing any more')
            [CompletionResult]::new('--remove-factors', '--remove-factors', [CompletionResultType]::ParameterName, 'Removes the authenticator app too, because it was lost')
            [CompletionResult]::new('--keep-api-keys', '--keep-api-keys', [CompletionResultType]::ParameterName, 'Keeps API keys working')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;otp' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('enroll', 'enroll', [CompletionResultType]::ParameterValue, 'Sets up an authenticator app: shows a QR code to scan, and takes a code of the app to confirm it')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Shows where the codes of logins come from, and how many backup codes are left')
            [CompletionResult]::new('remove', 'remove', [CompletionResultType]::ParameterValue, 'Removes the authenticator app and its backup codes; codes come by mail again')
            [CompletionResult]::new('backup-codes', 'backup-codes', [CompletionResultType]::ParameterValue, 'Replaces the backup codes and shows the new ones, once')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;otp;enroll' {
            [CompletionResult]::new('--session', '--session', [CompletionResultType]::ParameterName, 'Goes on with what `--begin` began')
            [CompletionResult]::new('--otp', '--otp', [CompletionResultType]::ParameterName, 'The one-time code; without --session only that of an authenticator app, or a backup code')
            [CompletionResult]::new('--confirm', '--confirm', [CompletionResultType]::ParameterName, 'A code of the app, which puts it in force')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--password-stdin', '--password-stdin', [CompletionResultType]::ParameterName, 'Reads the password from standard input, up to the first line end')
            [CompletionResult]::new('--begin', '--begin', [CompletionResultType]::ParameterName, 'Only checks the password and has a code sent; prints what `--session` needs')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;otp;list' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;otp;remove' {
            [CompletionResult]::new('--session', '--session', [CompletionResultType]::ParameterName, 'Goes on with what `--begin` began')
            [CompletionResult]::new('--otp', '--otp', [CompletionResultType]::ParameterName, 'The one-time code; without --session only that of an authenticator app, or a backup code')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--password-stdin', '--password-stdin', [CompletionResultType]::ParameterName, 'Reads the password from standard input, up to the first line end')
            [CompletionResult]::new('--begin', '--begin', [CompletionResultType]::ParameterName, 'Only checks the password and has a code sent; prints what `--session` needs')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;otp;backup-codes' {
            [CompletionResult]::new('--session', '--session', [CompletionResultType]::ParameterName, 'Goes on with what `--begin` began')
            [CompletionResult]::new('--otp', '--otp', [CompletionResultType]::ParameterName, 'The one-time code; without --session only that of an authenticator app, or a backup code')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--password-stdin', '--password-stdin', [CompletionResultType]::ParameterName, 'Reads the password from standard input, up to the first line end')
            [CompletionResult]::new('--begin', '--begin', [CompletionResultType]::ParameterName, 'Only checks the password and has a code sent; prints what `--session` needs')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;otp;help' {
            [CompletionResult]::new('enroll', 'enroll', [CompletionResultType]::ParameterValue, 'Sets up an authenticator app: shows a QR code to scan, and takes a code of the app to confirm it')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Shows where the codes of logins come from, and how many backup codes are left')
            [CompletionResult]::new('remove', 'remove', [CompletionResultType]::ParameterValue, 'Removes the authenticator app and its backup codes; codes come by mail again')
            [CompletionResult]::new('backup-codes', 'backup-codes', [CompletionResultType]::ParameterValue, 'Replaces the backup codes and shows the new ones, once')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;otp;help;enroll' {
            break
        }
        'cyx;otp;help;list' {
            break
        }
        'cyx;otp;help;remove' {
            break
        }
        'cyx;otp;help;backup-codes' {
            break
        }
        'cyx;otp;help;help' {
            break
        }
        'cyx;wallet' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('text', 'text', [CompletionResultType]::ParameterValue, 'Prints the text that a wallet has to sign to be linked, for wallets whose key is not in a file')
            [CompletionResult]::new('link', 'link', [CompletionResultType]::ParameterValue, 'Links a wallet to the account: from then on a signature of it logs in, without password and code')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Lists the wallets that log in to the account')
            [CompletionResult]::new('remove', 'remove', [CompletionResultType]::ParameterValue, 'Ends the link of a wallet, and the logins that it made. Needs the password and a code')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;wallet;text' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;wallet;link' {
            [CompletionResult]::new('--keypair', '--keypair', [CompletionResultType]::ParameterName, 'The wallet''s key, in a file as solana-keygen writes it')
            [CompletionResult]::new('--text', '--text', [CompletionResultType]::ParameterName, 'The text that was signed, as `cyx wallet text` names it')
            [CompletionResult]::new('--signature', '--signature', [CompletionResultType]::ParameterName, 'The wallet''s signature of it, in base58')
            [CompletionResult]::new('--session', '--session', [CompletionResultType]::ParameterName, 'Goes on with what `--begin` began')
            [CompletionResult]::new('--otp', '--otp', [CompletionResultType]::ParameterName, 'The one-time code; without --session only that of an authenticator app, or a backup code')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--password-stdin', '--password-stdin', [CompletionResultType]::ParameterName, 'Reads the password from standard input, up to the first line end')
            [CompletionResult]::new('--begin', '--begin', [CompletionResultType]::ParameterName, 'Only checks the password and has a code sent; prints what `--session` needs')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;wallet;list' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;wallet;remove' {
            [CompletionResult]::new('--session', '--session', [CompletionResultType]::ParameterName, 'Goes on with what `--begin` began')
            [CompletionResult]::new('--otp', '--otp', [CompletionResultType]::ParameterName, 'The one-time code; without --session only that of an authenticator app, or a backup code')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--password-stdin', '--password-stdin', [CompletionResultType]::ParameterName, 'Reads the password from standard input, up to the first line end')
            [CompletionResult]::new('--begin', '--begin', [CompletionResultType]::ParameterName, 'Only checks the password and has a code sent; prints what `--session` needs')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;wallet;help' {
            [CompletionResult]::new('text', 'text', [CompletionResultType]::ParameterValue, 'Prints the text that a wallet has to sign to be linked, for wallets whose key is not in a file')
            [CompletionResult]::new('link', 'link', [CompletionResultType]::ParameterValue, 'Links a wallet to the account: from then on a signature of it logs in, without password and code')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Lists the wallets that log in to the account')
            [CompletionResult]::new('remove', 'remove', [CompletionResultType]::ParameterValue, 'Ends the link of a wallet, and the logins that it made. Needs the password and a code')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;wallet;help;text' {
            break
        }
        'cyx;wallet;help;link' {
            break
        }
        'cyx;wallet;help;list' {
            break
        }
        'cyx;wallet;help;remove' {
            break
        }
        'cyx;wallet;help;help' {
            break
        }
        'cyx;sessions' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Lists the machines that are logged in, the one used last first')
            [CompletionResult]::new('revoke', 'revoke', [CompletionResultType]::ParameterValue, 'Ends logins: the server forgets the keys it kept for these machines, and they can do nothing more')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;sessions;list' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;sessions;revoke' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--all', '--all', [CompletionResultType]::ParameterName, 'Ends every login, that of this machine too')
            [CompletionResult]::new('--others', '--others', [CompletionResultType]::ParameterName, 'Ends every login but that of this machine')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;sessions;help' {
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Lists the machines that are logged in, the one used last first')
            [CompletionResult]::new('revoke', 'revoke', [CompletionResultType]::ParameterValue, 'Ends logins: the server forgets the keys it kept for these machines, and they can do nothing more')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;sessions;help;list' {
            break
        }
        'cyx;sessions;help;revoke' {
            break
        }
        'cyx;sessions;help;help' {
            break
        }
        'cyx;apikey' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('create', 'create', [CompletionResultType]::ParameterValue, 'Makes an API key and shows its token, once')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Lists the API keys and when each was last used')
            [CompletionResult]::new('revoke', 'revoke', [CompletionResultType]::ParameterValue, 'Revokes API keys: their tokens are refused, and the server forgets the keys it kept for them')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;apikey;create' {
            [CompletionResult]::new('--name', '--name', [CompletionResultType]::ParameterName, 'What it is for; shown in lists and in the audit log')
            [CompletionResult]::new('--permissions', '--permissions', [CompletionResultType]::ParameterName, 'What it may do: storage:read, storage:write, or both with a comma')
            [CompletionResult]::new('--bucket', '--bucket', [CompletionResultType]::ParameterName, 'The only bucket it may open')
            [CompletionResult]::new('--expires', '--expires', [CompletionResultType]::ParameterName, 'When it ends: a time from now (90d, 12h, 1y) or a day (2027-01-31). Default: a year')
            [CompletionResult]::new('--session', '--session', [CompletionResultType]::ParameterName, 'Goes on with what `--begin` began')
            [CompletionResult]::new('--otp', '--otp', [CompletionResultType]::ParameterName, 'The one-time code; without --session only that of an authenticator app, or a backup code')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--password-stdin', '--password-stdin', [CompletionResultType]::ParameterName, 'Reads the password from standard input, up to the first line end')
            [CompletionResult]::new('--begin', '--begin', [CompletionResultType]::ParameterName, 'Only checks the password and has a code sent; prints what `--session` needs')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;apikey;list' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;apikey;revoke' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;apikey;help' {
            [CompletionResult]::new('create', 'create', [CompletionResultType]::ParameterValue, 'Makes an API key and shows its token, once')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Lists the API keys and when each was last used')
            [CompletionResult]::new('revoke', 'revoke', [CompletionResultType]::ParameterValue, 'Revokes API keys: their tokens are refused, and the server forgets the keys it kept for them')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;apikey;help;create' {
            break
        }
        'cyx;apikey;help;list' {
            break
        }
        'cyx;apikey;help;revoke' {
            break
        }
        'cyx;apikey;help;help' {
            break
        }
        'cyx;rotate' {
            [CompletionResult]::new('--session', '--session', [CompletionResultType]::ParameterName, 'Goes on with what `--begin` began; the password is needed once more')
            [CompletionResult]::new('--otp', '--otp', [CompletionResultType]::ParameterName, 'The one-time code; without --session only that of an authenticator app, or a backup code')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--resume', '--resume', [CompletionResultType]::ParameterName, 'Goes on with what was interrupted on this machine, instead of replacing the keys once more')
            [CompletionResult]::new('--account', '--account', [CompletionResultType]::ParameterName, 'Replaces the account key, the identity keys and the recovery words')
            [CompletionResult]::new('--all-buckets', '--all-buckets', [CompletionResultType]::ParameterName, 'Then replaces the keys of all buckets')
            [CompletionResult]::new('-y', '-y', [CompletionResultType]::ParameterName, 'Does not ask whether other logins and API keys may end')
            [CompletionResult]::new('--yes', '--yes', [CompletionResultType]::ParameterName, 'Does not ask whether other logins and API keys may end')
            [CompletionResult]::new('--password-stdin', '--password-stdin', [CompletionResultType]::ParameterName, 'Reads the password from standard input, up to the first line end')
            [CompletionResult]::new('--begin', '--begin', [CompletionResultType]::ParameterName, 'Only checks the password and has a code sent; prints what `--session` needs')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;account' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('email', 'email', [CompletionResultType]::ParameterValue, 'Changes the email address, which is what you log in with')
            [CompletionResult]::new('export', 'export', [CompletionResultType]::ParameterValue, 'Writes everything that the server holds about the account to a file, one JSON document per line')
            [CompletionResult]::new('delete', 'delete', [CompletionResultType]::ParameterValue, 'Has the account and all its files deleted for good, after a time of grace')
            [CompletionResult]::new('keep', 'keep', [CompletionResultType]::ParameterValue, 'Keeps an account that was to be deleted')
            [CompletionResult]::new('words', 'words', [CompletionResultType]::ParameterValue, 'Makes new recovery words and shows them, once; the old ones open nothing any more. Needs the password and a code')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;account;email' {
            [CompletionResult]::new('--session', '--session', [CompletionResultType]::ParameterName, 'Goes on with what `--begin` began')
            [CompletionResult]::new('--otp', '--otp', [CompletionResultType]::ParameterName, 'The one-time code; without --session only that of an authenticator app, or a backup code')
            [CompletionResult]::new('--change', '--change', [CompletionResultType]::ParameterName, 'Finishes the change that was printed as change_id')
            [CompletionResult]::new('--otp-old', '--otp-old', [CompletionResultType]::ParameterName, 'The code from the old address')
            [CompletionResult]::new('--otp-new', '--otp-new', [CompletionResultType]::ParameterName, 'The code from the new address')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--password-stdin', '--password-stdin', [CompletionResultType]::ParameterName, 'Reads the password from standard input, up to the first line end')
            [CompletionResult]::new('--begin', '--begin', [CompletionResultType]::ParameterName, 'Only checks the password and has a code sent; prints what `--session` needs')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;account;export' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'The file; `-` for standard output. Default: cyx-account-NAME.ndjson in this folder')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'The file; `-` for standard output. Default: cyx-account-NAME.ndjson in this folder')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;account;delete' {
            [CompletionResult]::new('--session', '--session', [CompletionResultType]::ParameterName, 'Goes on with what `--begin` began')
            [CompletionResult]::new('--otp', '--otp', [CompletionResultType]::ParameterName, 'The one-time code; without --session only that of an authenticator app, or a backup code')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--password-stdin', '--password-stdin', [CompletionResultType]::ParameterName, 'Reads the password from standard input, up to the first line end')
            [CompletionResult]::new('--begin', '--begin', [CompletionResultType]::ParameterName, 'Only checks the password and has a code sent; prints what `--session` needs')
            [CompletionResult]::new('--yes', '--yes', [CompletionResultType]::ParameterName, 'Does not ask whether you mean it; needed where nobody can be asked')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;account;keep' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;account;words' {
            [CompletionResult]::new('--session', '--session', [CompletionResultType]::ParameterName, 'Goes on with what `--begin` began')
            [CompletionResult]::new('--otp', '--otp', [CompletionResultType]::ParameterName, 'The one-time code; without --session only that of an authenticator app, or a backup code')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--password-stdin', '--password-stdin', [CompletionResultType]::ParameterName, 'Reads the password from standard input, up to the first line end')
            [CompletionResult]::new('--begin', '--begin', [CompletionResultType]::ParameterName, 'Only checks the password and has a code sent; prints what `--session` needs')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;account;help' {
            [CompletionResult]::new('email', 'email', [CompletionResultType]::ParameterValue, 'Changes the email address, which is what you log in with')
            [CompletionResult]::new('export', 'export', [CompletionResultType]::ParameterValue, 'Writes everything that the server holds about the account to a file, one JSON document per line')
            [CompletionResult]::new('delete', 'delete', [CompletionResultType]::ParameterValue, 'Has the account and all its files deleted for good, after a time of grace')
            [CompletionResult]::new('keep', 'keep', [CompletionResultType]::ParameterValue, 'Keeps an account that was to be deleted')
            [CompletionResult]::new('words', 'words', [CompletionResultType]::ParameterValue, 'Makes new recovery words and shows them, once; the old ones open nothing any more. Needs the password and a code')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;account;help;email' {
            break
        }
        'cyx;account;help;export' {
            break
        }
        'cyx;account;help;delete' {
            break
        }
        'cyx;account;help;keep' {
            break
        }
        'cyx;account;help;words' {
            break
        }
        'cyx;account;help;help' {
            break
        }
        'cyx;audit' {
            [CompletionResult]::new('--since', '--since', [CompletionResultType]::ParameterName, 'Only what happened since: a time ago (7d, 12h) or a day (2026-11-01)')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;admin' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('users', 'users', [CompletionResultType]::ParameterValue, 'Lists accounts')
            [CompletionResult]::new('plan', 'plan', [CompletionResultType]::ParameterValue, 'Gives an account a plan')
            [CompletionResult]::new('role', 'role', [CompletionResultType]::ParameterValue, 'Gives an account a role')
            [CompletionResult]::new('disable', 'disable', [CompletionResultType]::ParameterValue, 'Disables an account: its logins and API keys end at once. What it has stored stays')
            [CompletionResult]::new('audit', 'audit', [CompletionResultType]::ParameterValue, 'Shows the audit log of the server, or checks that it is whole')
            [CompletionResult]::new('nodes', 'nodes', [CompletionResultType]::ParameterValue, 'Lists the storage nodes: how they are, whose they are, what they hold')
            [CompletionResult]::new('reinstate', 'reinstate', [CompletionResultType]::ParameterValue, 'Takes a disqualified storage node back if it proves what it holds')
            [CompletionResult]::new('drain', 'drain', [CompletionResultType]::ParameterValue, 'Empties a storage node: it gets nothing new, and everything on it is moved to others')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;admin;users' {
            [CompletionResult]::new('--search', '--search', [CompletionResultType]::ParameterName, 'Only those whose user name or email address contains this')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;admin;plan' {
            [CompletionResult]::new('--limit-gb', '--limit-gb', [CompletionResultType]::ParameterName, 'Space in GB, if it is not that of the plan')
            [CompletionResult]::new('--traffic-gb', '--traffic-gb', [CompletionResultType]::ParameterName, 'Monthly traffic in GB, if it is not that of the plan')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;admin;role' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;admin;disable' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--undo', '--undo', [CompletionResultType]::ParameterName, 'Lets it work again')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;admin;audit' {
            [CompletionResult]::new('--since', '--since', [CompletionResultType]::ParameterName, 'Only what happened since: a time ago (7d, 12h) or a day (2026-11-01)')
            [CompletionResult]::new('--account', '--account', [CompletionResultType]::ParameterName, 'Only what concerns the account of this id')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--check', '--check', [CompletionResultType]::ParameterName, 'Checks the chain of all entries instead; exit code 1 if it is broken')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;admin;nodes' {
            [CompletionResult]::new('--state', '--state', [CompletionResultType]::ParameterName, 'Only those in this state')
            [CompletionResult]::new('--standing', '--standing', [CompletionResultType]::ParameterName, 'Only those with this standing, which follows from their audits')
            [CompletionResult]::new('--leaving', '--leaving', [CompletionResultType]::ParameterName, 'Only those that leave in this way, or not at all')
            [CompletionResult]::new('--owner', '--owner', [CompletionResultType]::ParameterName, 'Only those of this account: user name, email address or id')
            [CompletionResult]::new('--region', '--region', [CompletionResultType]::ParameterName, 'Only those in this region')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Shows everything that is known of a storage node')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;admin;nodes;show' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;admin;nodes;help' {
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Shows everything that is known of a storage node')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;admin;nodes;help;show' {
            break
        }
        'cyx;admin;nodes;help;help' {
            break
        }
        'cyx;admin;reinstate' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;admin;drain' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--cancel', '--cancel', [CompletionResultType]::ParameterName, 'Lets it stay after all')
            [CompletionResult]::new('--status', '--status', [CompletionResultType]::ParameterName, 'Only shows how far it is')
            [CompletionResult]::new('--wait', '--wait', [CompletionResultType]::ParameterName, 'Returns when nothing is left on it')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;admin;help' {
            [CompletionResult]::new('users', 'users', [CompletionResultType]::ParameterValue, 'Lists accounts')
            [CompletionResult]::new('plan', 'plan', [CompletionResultType]::ParameterValue, 'Gives an account a plan')
            [CompletionResult]::new('role', 'role', [CompletionResultType]::ParameterValue, 'Gives an account a role')
            [CompletionResult]::new('disable', 'disable', [CompletionResultType]::ParameterValue, 'Disables an account: its logins and API keys end at once. What it has stored stays')
            [CompletionResult]::new('audit', 'audit', [CompletionResultType]::ParameterValue, 'Shows the audit log of the server, or checks that it is whole')
            [CompletionResult]::new('nodes', 'nodes', [CompletionResultType]::ParameterValue, 'Lists the storage nodes: how they are, whose they are, what they hold')
            [CompletionResult]::new('reinstate', 'reinstate', [CompletionResultType]::ParameterValue, 'Takes a disqualified storage node back if it proves what it holds')
            [CompletionResult]::new('drain', 'drain', [CompletionResultType]::ParameterValue, 'Empties a storage node: it gets nothing new, and everything on it is moved to others')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;admin;help;users' {
            break
        }
        'cyx;admin;help;plan' {
            break
        }
        'cyx;admin;help;role' {
            break
        }
        'cyx;admin;help;disable' {
            break
        }
        'cyx;admin;help;audit' {
            break
        }
        'cyx;admin;help;nodes' {
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Shows everything that is known of a storage node')
            break
        }
        'cyx;admin;help;nodes;show' {
            break
        }
        'cyx;admin;help;reinstate' {
            break
        }
        'cyx;admin;help;drain' {
            break
        }
        'cyx;admin;help;help' {
            break
        }
        'cyx;bucket' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('create', 'create', [CompletionResultType]::ParameterValue, 'Creates a bucket')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Lists the buckets')
            [CompletionResult]::new('delete', 'delete', [CompletionResultType]::ParameterValue, 'Deletes a bucket, which must be empty unless --force is given')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;bucket;create' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--durable', '--durable', [CompletionResultType]::ParameterName, 'Stores 10+10 instead of 10+4 shards: any 10 of 20 nodes may vanish, for twice the space')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;bucket;list' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;bucket;delete' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--force', '--force', [CompletionResultType]::ParameterName, 'Deletes all that is in it, for good')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;bucket;help' {
            [CompletionResult]::new('create', 'create', [CompletionResultType]::ParameterValue, 'Creates a bucket')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Lists the buckets')
            [CompletionResult]::new('delete', 'delete', [CompletionResultType]::ParameterValue, 'Deletes a bucket, which must be empty unless --force is given')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;bucket;help;create' {
            break
        }
        'cyx;bucket;help;list' {
            break
        }
        'cyx;bucket;help;delete' {
            break
        }
        'cyx;bucket;help;help' {
            break
        }
        'cyx;upload' {
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'The bucket')
            [CompletionResult]::new('--bucket', '--bucket', [CompletionResultType]::ParameterName, 'The bucket')
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'Key to store under; with several paths or a trailing slash, the folder to store them in')
            [CompletionResult]::new('--key', '--key', [CompletionResultType]::ParameterName, 'Key to store under; with several paths or a trailing slash, the folder to store them in')
            [CompletionResult]::new('--include', '--include', [CompletionResultType]::ParameterName, 'Only files that match; may be repeated. `*` and `?` stop at slashes, `**` does not; a pattern without a slash matches at any depth')
            [CompletionResult]::new('--exclude', '--exclude', [CompletionResultType]::ParameterName, 'Not what matches; may be repeated and wins over --include. A directory that matches is left out with all it contains')
            [CompletionResult]::new('--if-match', '--if-match', [CompletionResultType]::ParameterName, 'Refuses (exit code 7) unless this is the version that would be replaced')
            [CompletionResult]::new('--durability', '--durability', [CompletionResultType]::ParameterName, 'When an upload counts as done')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('-r', '-r', [CompletionResultType]::ParameterName, 'Uploads directories with all they contain')
            [CompletionResult]::new('--recursive', '--recursive', [CompletionResultType]::ParameterName, 'Uploads directories with all they contain')
            [CompletionResult]::new('--if-absent', '--if-absent', [CompletionResultType]::ParameterName, 'Refuses (exit code 7) if the key exists')
            [CompletionResult]::new('--checksum', '--checksum', [CompletionResultType]::ParameterName, 'Compares contents, not sizes and times, to find what is unchanged')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Says what would be uploaded and uploads nothing')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Says what would be uploaded and uploads nothing')
            [CompletionResult]::new('--abort', '--abort', [CompletionResultType]::ParameterName, 'Drops what an interrupted upload of these paths left behind instead of uploading')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;download' {
            [CompletionResult]::new('-k', '-k', [CompletionResultType]::ParameterName, 'Key of a file, or of a directory with -r; without it, the whole bucket (needs -r)')
            [CompletionResult]::new('--key', '--key', [CompletionResultType]::ParameterName, 'Key of a file, or of a directory with -r; without it, the whole bucket (needs -r)')
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Where to: a file, a directory, or `-` for standard output')
            [CompletionResult]::new('--output', '--output', [CompletionResultType]::ParameterName, 'Where to: a file, a directory, or `-` for standard output')
            [CompletionResult]::new('--include', '--include', [CompletionResultType]::ParameterName, 'Only files that match; may be repeated. `*` and `?` stop at slashes, `**` does not; a pattern without a slash matches at any depth')
            [CompletionResult]::new('--exclude', '--exclude', [CompletionResultType]::ParameterName, 'Not what matches; may be repeated and wins over --include. A directory that matches is left out with all it contains')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('-r', '-r', [CompletionResultType]::ParameterName, 'Downloads a directory with all it contains')
            [CompletionResult]::new('--recursive', '--recursive', [CompletionResultType]::ParameterName, 'Downloads a directory with all it contains')
            [CompletionResult]::new('--no-clobber', '--no-clobber', [CompletionResultType]::ParameterName, 'Leaves files that exist as they are')
            [CompletionResult]::new('-n', '-n', [CompletionResultType]::ParameterName, 'Says what would be downloaded and downloads nothing')
            [CompletionResult]::new('--dry-run', '--dry-run', [CompletionResultType]::ParameterName, 'Says what would be downloaded and downloads nothing')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;list' {
            [CompletionResult]::new('--prefix', '--prefix', [CompletionResultType]::ParameterName, 'Only keys that begin like this')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('-l', '-l', [CompletionResultType]::ParameterName, 'Shows permissions, size, time and version')
            [CompletionResult]::new('--long', '--long', [CompletionResultType]::ParameterName, 'Shows permissions, size, time and version')
            [CompletionResult]::new('-r', '-r', [CompletionResultType]::ParameterName, 'Lists directories with all they contain')
            [CompletionResult]::new('--recursive', '--recursive', [CompletionResultType]::ParameterName, 'Lists directories with all they contain')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;delete' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('-r', '-r', [CompletionResultType]::ParameterName, 'Deletes directories with all they contain')
            [CompletionResult]::new('--recursive', '--recursive', [CompletionResultType]::ParameterName, 'Deletes directories with all they contain')
            [CompletionResult]::new('--permanent', '--permanent', [CompletionResultType]::ParameterName, 'Deletes for good instead of moving to the trash')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;stat' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--scrub', '--scrub', [CompletionResultType]::ParameterName, 'Has the nodes read what they keep of the file; without it they say what they know. Takes a while for large files')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;verify' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--full', '--full', [CompletionResultType]::ParameterName, 'Has every byte proven instead of a random slice of each shard')
            [CompletionResult]::new('--strict', '--strict', [CompletionResultType]::ParameterName, 'Fails for files with a shard that is missing, also if they can be read')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;cat' {
            [CompletionResult]::new('--offset', '--offset', [CompletionResultType]::ParameterName, 'Begins at this byte')
            [CompletionResult]::new('--length', '--length', [CompletionResultType]::ParameterName, 'Stops after this many bytes')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;cp' {
            [CompletionResult]::new('--to-bucket', '--to-bucket', [CompletionResultType]::ParameterName, 'The bucket to copy to, if it is another one')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('-r', '-r', [CompletionResultType]::ParameterName, 'Copies a directory with all it contains')
            [CompletionResult]::new('--recursive', '--recursive', [CompletionResultType]::ParameterName, 'Copies a directory with all it contains')
            [CompletionResult]::new('--no-clobber', '--no-clobber', [CompletionResultType]::ParameterName, 'Refuses (exit code 7) if the new key exists')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;mv' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--no-clobber', '--no-clobber', [CompletionResultType]::ParameterName, 'Refuses (exit code 7) if the new key exists')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;mkdir' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('-p', '-p', [CompletionResultType]::ParameterName, 'Makes missing parents too, and does not mind if the directory exists')
            [CompletionResult]::new('--parents', '--parents', [CompletionResultType]::ParameterName, 'Makes missing parents too, and does not mind if the directory exists')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;mount' {
            [CompletionResult]::new('-o', '-o', [CompletionResultType]::ParameterName, 'Mount options, separated by commas; may be repeated')
            [CompletionResult]::new('-b', '-b', [CompletionResultType]::ParameterName, 'Mounts one bucket instead of all')
            [CompletionResult]::new('--bucket', '--bucket', [CompletionResultType]::ParameterName, 'Mounts one bucket instead of all')
            [CompletionResult]::new('--uid', '--uid', [CompletionResultType]::ParameterName, 'Shows every file as owned by this user')
            [CompletionResult]::new('--gid', '--gid', [CompletionResultType]::ParameterName, 'Shows every file as owned by this group')
            [CompletionResult]::new('--umask', '--umask', [CompletionResultType]::ParameterName, 'Takes permission bits away from what is shown, as umask(1) does')
            [CompletionResult]::new('--cache-dir', '--cache-dir', [CompletionResultType]::ParameterName, 'Where the journal and the cache lie; default: cache/ in ~/.cyxcloud (or CYXCLOUD_HOME)')
            [CompletionResult]::new('--cache-size', '--cache-size', [CompletionResultType]::ParameterName, 'Bound of the journal and the cache on disk, for example 50G; default 10G')
            [CompletionResult]::new('--memory', '--memory', [CompletionResultType]::ParameterName, 'Bound of the memory for content that is read ahead or sent, for example 512M; default 256M')
            [CompletionResult]::new('--fsync', '--fsync', [CompletionResultType]::ParameterName, 'What `fsync` waits for; default local')
            [CompletionResult]::new('--close', '--close', [CompletionResultType]::ParameterName, 'What `close` waits for; default local, which waits for nothing more than the write itself')
            [CompletionResult]::new('--metrics', '--metrics', [CompletionResultType]::ParameterName, 'Answers Prometheus at /metrics of this address, for example 127.0.0.1:9273')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'Stays in the foreground, logs to standard error and ends with the mount')
            [CompletionResult]::new('--foreground', '--foreground', [CompletionResultType]::ParameterName, 'Stays in the foreground, logs to standard error and ends with the mount')
            [CompletionResult]::new('--read-only', '--read-only', [CompletionResultType]::ParameterName, 'Lets nothing be changed. What an earlier mount left in the cache directory is still sent')
            [CompletionResult]::new('--allow-other', '--allow-other', [CompletionResultType]::ParameterName, 'Lets other users of this machine in, as far as the permissions of files go')
            [CompletionResult]::new('--discard-deleted', '--discard-deleted', [CompletionResultType]::ParameterName, 'Lets go of what could not be sent to buckets that were deleted, or are not open to this account any more. Without it that is kept')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;umount' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('-f', '-f', [CompletionResultType]::ParameterName, 'Takes it off although it is in use or changes are pending')
            [CompletionResult]::new('--force', '--force', [CompletionResultType]::ParameterName, 'Takes it off although it is in use or changes are pending')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;mounts' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;trash' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Lists what is in the trash of a bucket, newest first')
            [CompletionResult]::new('restore', 'restore', [CompletionResultType]::ParameterValue, 'Restores from the trash to where it was')
            [CompletionResult]::new('empty', 'empty', [CompletionResultType]::ParameterValue, 'Deletes what is in the trash for good')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;trash;list' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;trash;restore' {
            [CompletionResult]::new('--as', '--as', [CompletionResultType]::ParameterName, 'Restores under another name in the same directory; with one key only')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;trash;empty' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;trash;help' {
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Lists what is in the trash of a bucket, newest first')
            [CompletionResult]::new('restore', 'restore', [CompletionResultType]::ParameterValue, 'Restores from the trash to where it was')
            [CompletionResult]::new('empty', 'empty', [CompletionResultType]::ParameterValue, 'Deletes what is in the trash for good')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;trash;help;list' {
            break
        }
        'cyx;trash;help;restore' {
            break
        }
        'cyx;trash;help;empty' {
            break
        }
        'cyx;trash;help;help' {
            break
        }
        'cyx;node' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('enroll', 'enroll', [CompletionResultType]::ParameterValue, 'Makes a token with which one machine joins as a storage node of this account, and shows it, once')
            [CompletionResult]::new('start', 'start', [CompletionResultType]::ParameterValue, 'Starts a storage node on this machine and returns when it is registered; leaves it running')
            [CompletionResult]::new('stop', 'stop', [CompletionResultType]::ParameterValue, 'Stops the storage node of this machine. What it keeps stays, and is served again after the next start')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Shows how the storage node of this machine is: room, traffic, audits, score, earnings')
            [CompletionResult]::new('exit', 'exit', [CompletionResultType]::ParameterValue, 'Leaves the network for good: everything that this machine''s node keeps is moved to others, verified, before it may go')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Lists the storage nodes of the account, wherever they run')
            [CompletionResult]::new('earnings', 'earnings', [CompletionResultType]::ParameterValue, 'Shows what a storage node earned, and computes it again from signed orders and measured time')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;node;enroll' {
            [CompletionResult]::new('--label', '--label', [CompletionResultType]::ParameterName, 'What it is for; shown to you alone')
            [CompletionResult]::new('--expires-hours', '--expires-hours', [CompletionResultType]::ParameterName, 'For how many hours the token is good')
            [CompletionResult]::new('--central-server', '--central-server', [CompletionResultType]::ParameterName, 'Where nodes register, for the command that is shown; default: the port that the server names, or else 50052')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;node;start' {
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'Folder of the node''s state, log and settings; default: CYXCLOUD_HOME or ~/.cyxcloud')
            [CompletionResult]::new('--storage-gb', '--storage-gb', [CompletionResultType]::ParameterName, 'GiB to offer, at least 3; 2 of them are the network''s reserve')
            [CompletionResult]::new('--storage-path', '--storage-path', [CompletionResultType]::ParameterName, 'Folder of the chunks and the node''s key; default: what node.toml says, where it was the last time, or else node-data in the node''s folder')
            [CompletionResult]::new('--central-server', '--central-server', [CompletionResultType]::ParameterName, 'Where nodes register; default: what node.toml says, the port that the server names when it is asked for a token, where this node registered last, or else port 50052 of the server')
            [CompletionResult]::new('--public-addr', '--public-addr', [CompletionResultType]::ParameterName, 'Where clients reach this node, host or host:port; the server checks it')
            [CompletionResult]::new('--region', '--region', [CompletionResultType]::ParameterName, 'Region of this node, a word such as eu-west')
            [CompletionResult]::new('--payout-address', '--payout-address', [CompletionResultType]::ParameterName, 'Where you want to be paid, a word such as an account number')
            [CompletionResult]::new('--grpc-port', '--grpc-port', [CompletionResultType]::ParameterName, 'Port for chunks; 0 is any free one')
            [CompletionResult]::new('--metrics-port', '--metrics-port', [CompletionResultType]::ParameterName, 'Port for metrics, health and `cyx node status`; 0 is any free one')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Seconds to wait for the node to become ready')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;node;stop' {
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'Folder of the node''s state, log and settings; default: CYXCLOUD_HOME or ~/.cyxcloud')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;node;status' {
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'Folder of the node''s state, log and settings; default: CYXCLOUD_HOME or ~/.cyxcloud')
            [CompletionResult]::new('--metrics', '--metrics', [CompletionResultType]::ParameterName, 'Where the node answers, if `cyx node start` did not start it, for example 127.0.0.1:9090')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('-w', '-w', [CompletionResultType]::ParameterName, 'Shows it anew every two seconds until Ctrl-C')
            [CompletionResult]::new('--watch', '--watch', [CompletionResultType]::ParameterName, 'Shows it anew every two seconds until Ctrl-C')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;node;exit' {
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'Folder of the node''s state, log and settings; default: CYXCLOUD_HOME or ~/.cyxcloud')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--status', '--status', [CompletionResultType]::ParameterName, 'Only shows how far it is')
            [CompletionResult]::new('--cancel', '--cancel', [CompletionResultType]::ParameterName, 'Stays after all; possible until everything is moved')
            [CompletionResult]::new('-y', '-y', [CompletionResultType]::ParameterName, 'Does not ask whether the node shall leave')
            [CompletionResult]::new('--yes', '--yes', [CompletionResultType]::ParameterName, 'Does not ask whether the node shall leave')
            [CompletionResult]::new('--no-wait', '--no-wait', [CompletionResultType]::ParameterName, 'Returns at once instead of waiting until everything is moved')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;node;list' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;node;earnings' {
            [CompletionResult]::new('--home', '--home', [CompletionResultType]::ParameterName, 'Folder of the node''s state, log and settings; default: CYXCLOUD_HOME or ~/.cyxcloud')
            [CompletionResult]::new('--node', '--node', [CompletionResultType]::ParameterName, 'The node; default: that of this machine, or the only one of the account')
            [CompletionResult]::new('--epochs', '--epochs', [CompletionResultType]::ParameterName, 'How many epochs, the newest first')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--verify', '--verify', [CompletionResultType]::ParameterName, 'Computes every statement again from its facts')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;node;help' {
            [CompletionResult]::new('enroll', 'enroll', [CompletionResultType]::ParameterValue, 'Makes a token with which one machine joins as a storage node of this account, and shows it, once')
            [CompletionResult]::new('start', 'start', [CompletionResultType]::ParameterValue, 'Starts a storage node on this machine and returns when it is registered; leaves it running')
            [CompletionResult]::new('stop', 'stop', [CompletionResultType]::ParameterValue, 'Stops the storage node of this machine. What it keeps stays, and is served again after the next start')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Shows how the storage node of this machine is: room, traffic, audits, score, earnings')
            [CompletionResult]::new('exit', 'exit', [CompletionResultType]::ParameterValue, 'Leaves the network for good: everything that this machine''s node keeps is moved to others, verified, before it may go')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Lists the storage nodes of the account, wherever they run')
            [CompletionResult]::new('earnings', 'earnings', [CompletionResultType]::ParameterValue, 'Shows what a storage node earned, and computes it again from signed orders and measured time')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;node;help;enroll' {
            break
        }
        'cyx;node;help;start' {
            break
        }
        'cyx;node;help;stop' {
            break
        }
        'cyx;node;help;status' {
            break
        }
        'cyx;node;help;exit' {
            break
        }
        'cyx;node;help;list' {
            break
        }
        'cyx;node;help;earnings' {
            break
        }
        'cyx;node;help;help' {
            break
        }
        'cyx;dev' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('up', 'up', [CompletionResultType]::ParameterValue, 'Starts the cluster and returns when it is ready; leaves it running')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Shows what is running')
            [CompletionResult]::new('stop-node', 'stop-node', [CompletionResultType]::ParameterValue, 'Stops one storage node')
            [CompletionResult]::new('start-node', 'start-node', [CompletionResultType]::ParameterValue, 'Starts a storage node that was stopped')
            [CompletionResult]::new('down', 'down', [CompletionResultType]::ParameterValue, 'Stops the cluster')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;dev;up' {
            [CompletionResult]::new('--dir', '--dir', [CompletionResultType]::ParameterName, 'The cluster''s folder; default: dev/ in ~/.cyxcloud (or CYXCLOUD_HOME)')
            [CompletionResult]::new('--nodes', '--nodes', [CompletionResultType]::ParameterName, 'Number of storage nodes; default 14, or as many as the folder has')
            [CompletionResult]::new('--port', '--port', [CompletionResultType]::ParameterName, 'Port of the server; default: a free one')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Seconds to wait for the cluster to become ready')
            [CompletionResult]::new('--server-arg', '--server-arg', [CompletionResultType]::ParameterName, 'Passes an argument to cyx-server, now and at later starts; may be repeated. Takes the place of all that were given to an earlier `up`; an empty one gives none')
            [CompletionResult]::new('--node-arg', '--node-arg', [CompletionResultType]::ParameterName, 'Passes an argument to every cyx-node, as --server-arg does to the server')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;dev;status' {
            [CompletionResult]::new('--dir', '--dir', [CompletionResultType]::ParameterName, 'The cluster''s folder; default: dev/ in ~/.cyxcloud (or CYXCLOUD_HOME)')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;dev;stop-node' {
            [CompletionResult]::new('--dir', '--dir', [CompletionResultType]::ParameterName, 'The cluster''s folder; default: dev/ in ~/.cyxcloud (or CYXCLOUD_HOME)')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--kill', '--kill', [CompletionResultType]::ParameterName, 'Kills it (SIGKILL) as a crash would, instead of letting it finish')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;dev;start-node' {
            [CompletionResult]::new('--dir', '--dir', [CompletionResultType]::ParameterName, 'The cluster''s folder; default: dev/ in ~/.cyxcloud (or CYXCLOUD_HOME)')
            [CompletionResult]::new('--timeout', '--timeout', [CompletionResultType]::ParameterName, 'Seconds to wait for the node to become ready')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;dev;down' {
            [CompletionResult]::new('--dir', '--dir', [CompletionResultType]::ParameterName, 'The cluster''s folder; default: dev/ in ~/.cyxcloud (or CYXCLOUD_HOME)')
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--wipe', '--wipe', [CompletionResultType]::ParameterName, 'Deletes the cluster''s data as well')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;dev;help' {
            [CompletionResult]::new('up', 'up', [CompletionResultType]::ParameterValue, 'Starts the cluster and returns when it is ready; leaves it running')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Shows what is running')
            [CompletionResult]::new('stop-node', 'stop-node', [CompletionResultType]::ParameterValue, 'Stops one storage node')
            [CompletionResult]::new('start-node', 'start-node', [CompletionResultType]::ParameterValue, 'Starts a storage node that was stopped')
            [CompletionResult]::new('down', 'down', [CompletionResultType]::ParameterValue, 'Stops the cluster')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;dev;help;up' {
            break
        }
        'cyx;dev;help;status' {
            break
        }
        'cyx;dev;help;stop-node' {
            break
        }
        'cyx;dev;help;start-node' {
            break
        }
        'cyx;dev;help;down' {
            break
        }
        'cyx;dev;help;help' {
            break
        }
        'cyx;completions' {
            [CompletionResult]::new('--gateway', '--gateway', [CompletionResultType]::ParameterName, 'Address of the server')
            [CompletionResult]::new('--ca-file', '--ca-file', [CompletionResultType]::ParameterName, 'PEM file of the certificate authorities to trust instead of the operating system''s')
            [CompletionResult]::new('--json', '--json', [CompletionResultType]::ParameterName, 'Prints JSON on standard output: one document, or one per line for lists')
            [CompletionResult]::new('-q', '-q', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('--quiet', '--quiet', [CompletionResultType]::ParameterName, 'Prints only what was asked for, and errors')
            [CompletionResult]::new('-v', '-v', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('--verbose', '--verbose', [CompletionResultType]::ParameterName, 'Says more on standard error; twice for debugging, three times for everything')
            [CompletionResult]::new('-h', '-h', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('--help', '--help', [CompletionResultType]::ParameterName, 'Print help (see more with ''--help'')')
            [CompletionResult]::new('-V', '-V ', [CompletionResultType]::ParameterName, 'Print version')
            [CompletionResult]::new('--version', '--version', [CompletionResultType]::ParameterName, 'Print version')
            break
        }
        'cyx;help' {
            [CompletionResult]::new('register', 'register', [CompletionResultType]::ParameterValue, 'Creates an account')
            [CompletionResult]::new('login', 'login', [CompletionResultType]::ParameterValue, 'Logs this machine in: password, then a one-time code; or a wallet')
            [CompletionResult]::new('logout', 'logout', [CompletionResultType]::ParameterValue, 'Logs this machine out: the server forgets the session, this machine its keys')
            [CompletionResult]::new('whoami', 'whoami', [CompletionResultType]::ParameterValue, 'Shows the account that is logged in')
            [CompletionResult]::new('quota', 'quota', [CompletionResultType]::ParameterValue, 'Shows how much of the plan is used')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Shows the server, the storage nodes and what a new upload would survive')
            [CompletionResult]::new('passwd', 'passwd', [CompletionResultType]::ParameterValue, 'Changes the password')
            [CompletionResult]::new('recover', 'recover', [CompletionResultType]::ParameterValue, 'Sets a new password with the 24 recovery words')
            [CompletionResult]::new('otp', 'otp', [CompletionResultType]::ParameterValue, 'Sets up an authenticator app as the second factor of logins')
            [CompletionResult]::new('wallet', 'wallet', [CompletionResultType]::ParameterValue, 'Links wallets that log in to the account without password and code, for miners')
            [CompletionResult]::new('sessions', 'sessions', [CompletionResultType]::ParameterValue, 'Lists and ends logins of other machines')
            [CompletionResult]::new('apikey', 'apikey', [CompletionResultType]::ParameterValue, 'Makes, lists and revokes API keys, with which scripts and machines work without a login')
            [CompletionResult]::new('rotate', 'rotate', [CompletionResultType]::ParameterValue, 'Replaces the keys of buckets, in case somebody kept them who had an API key, a login or a share')
            [CompletionResult]::new('account', 'account', [CompletionResultType]::ParameterValue, 'Changes the address, takes the account along, ends it, or makes new recovery words')
            [CompletionResult]::new('audit', 'audit', [CompletionResultType]::ParameterValue, 'Shows what happened to the account: logins, refusals, changes of factors, keys and passwords')
            [CompletionResult]::new('admin', 'admin', [CompletionResultType]::ParameterValue, 'Looks after the accounts of a server. For administrators')
            [CompletionResult]::new('bucket', 'bucket', [CompletionResultType]::ParameterValue, 'Creates, lists and deletes buckets')
            [CompletionResult]::new('upload', 'upload', [CompletionResultType]::ParameterValue, 'Uploads files and directories')
            [CompletionResult]::new('download', 'download', [CompletionResultType]::ParameterValue, 'Downloads files and directories')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Lists buckets, or what is in one')
            [CompletionResult]::new('delete', 'delete', [CompletionResultType]::ParameterValue, 'Moves files and directories to the trash, or deletes them for good')
            [CompletionResult]::new('stat', 'stat', [CompletionResultType]::ParameterValue, 'Shows all about a file or directory, and how many more lost nodes it survives: its nodes are asked')
            [CompletionResult]::new('verify', 'verify', [CompletionResultType]::ParameterValue, 'Has storage nodes prove that files are still there, and shows what they would survive')
            [CompletionResult]::new('cat', 'cat', [CompletionResultType]::ParameterValue, 'Writes files to standard output')
            [CompletionResult]::new('cp', 'cp', [CompletionResultType]::ParameterValue, 'Copies a file or directory within its bucket or to another')
            [CompletionResult]::new('mv', 'mv', [CompletionResultType]::ParameterValue, 'Renames or moves a file or directory within its bucket')
            [CompletionResult]::new('mkdir', 'mkdir', [CompletionResultType]::ParameterValue, 'Makes directories')
            [CompletionResult]::new('mount', 'mount', [CompletionResultType]::ParameterValue, 'Mounts the buckets as a directory')
            [CompletionResult]::new('umount', 'umount', [CompletionResultType]::ParameterValue, 'Takes a mount off, after sending what was written')
            [CompletionResult]::new('mounts', 'mounts', [CompletionResultType]::ParameterValue, 'Lists the mounts and what they are doing')
            [CompletionResult]::new('trash', 'trash', [CompletionResultType]::ParameterValue, 'Lists, restores and empties the trash of a bucket')
            [CompletionResult]::new('node', 'node', [CompletionResultType]::ParameterValue, 'Offers disk space to a network, looks after the storage node of this machine, and shows what it earns')
            [CompletionResult]::new('dev', 'dev', [CompletionResultType]::ParameterValue, 'Runs a whole cluster on this machine: one server and several storage nodes')
            [CompletionResult]::new('completions', 'completions', [CompletionResultType]::ParameterValue, 'Prints a completion script for a shell')
            [CompletionResult]::new('help', 'help', [CompletionResultType]::ParameterValue, 'Print this message or the help of the given subcommand(s)')
            break
        }
        'cyx;help;register' {
            break
        }
        'cyx;help;login' {
            break
        }
        'cyx;help;logout' {
            break
        }
        'cyx;help;whoami' {
            break
        }
        'cyx;help;quota' {
            break
        }
        'cyx;help;status' {
            break
        }
        'cyx;help;passwd' {
            break
        }
        'cyx;help;recover' {
            break
        }
        'cyx;help;otp' {
            [CompletionResult]::new('enroll', 'enroll', [CompletionResultType]::ParameterValue, 'Sets up an authenticator app: shows a QR code to scan, and takes a code of the app to confirm it')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Shows where the codes of logins come from, and how many backup codes are left')
            [CompletionResult]::new('remove', 'remove', [CompletionResultType]::ParameterValue, 'Removes the authenticator app and its backup codes; codes come by mail again')
            [CompletionResult]::new('backup-codes', 'backup-codes', [CompletionResultType]::ParameterValue, 'Replaces the backup codes and shows the new ones, once')
            break
        }
        'cyx;help;otp;enroll' {
            break
        }
        'cyx;help;otp;list' {
            break
        }
        'cyx;help;otp;remove' {
            break
        }
        'cyx;help;otp;backup-codes' {
            break
        }
        'cyx;help;wallet' {
            [CompletionResult]::new('text', 'text', [CompletionResultType]::ParameterValue, 'Prints the text that a wallet has to sign to be linked, for wallets whose key is not in a file')
            [CompletionResult]::new('link', 'link', [CompletionResultType]::ParameterValue, 'Links a wallet to the account: from then on a signature of it logs in, without password and code')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Lists the wallets that log in to the account')
            [CompletionResult]::new('remove', 'remove', [CompletionResultType]::ParameterValue, 'Ends the link of a wallet, and the logins that it made. Needs the password and a code')
            break
        }
        'cyx;help;wallet;text' {
            break
        }
        'cyx;help;wallet;link' {
            break
        }
        'cyx;help;wallet;list' {
            break
        }
        'cyx;help;wallet;remove' {
            break
        }
        'cyx;help;sessions' {
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Lists the machines that are logged in, the one used last first')
            [CompletionResult]::new('revoke', 'revoke', [CompletionResultType]::ParameterValue, 'Ends logins: the server forgets the keys it kept for these machines, and they can do nothing more')
            break
        }
        'cyx;help;sessions;list' {
            break
        }
        'cyx;help;sessions;revoke' {
            break
        }
        'cyx;help;apikey' {
            [CompletionResult]::new('create', 'create', [CompletionResultType]::ParameterValue, 'Makes an API key and shows its token, once')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Lists the API keys and when each was last used')
            [CompletionResult]::new('revoke', 'revoke', [CompletionResultType]::ParameterValue, 'Revokes API keys: their tokens are refused, and the server forgets the keys it kept for them')
            break
        }
        'cyx;help;apikey;create' {
            break
        }
        'cyx;help;apikey;list' {
            break
        }
        'cyx;help;apikey;revoke' {
            break
        }
        'cyx;help;rotate' {
            break
        }
        'cyx;help;account' {
            [CompletionResult]::new('email', 'email', [CompletionResultType]::ParameterValue, 'Changes the email address, which is what you log in with')
            [CompletionResult]::new('export', 'export', [CompletionResultType]::ParameterValue, 'Writes everything that the server holds about the account to a file, one JSON document per line')
            [CompletionResult]::new('delete', 'delete', [CompletionResultType]::ParameterValue, 'Has the account and all its files deleted for good, after a time of grace')
            [CompletionResult]::new('keep', 'keep', [CompletionResultType]::ParameterValue, 'Keeps an account that was to be deleted')
            [CompletionResult]::new('words', 'words', [CompletionResultType]::ParameterValue, 'Makes new recovery words and shows them, once; the old ones open nothing any more. Needs the password and a code')
            break
        }
        'cyx;help;account;email' {
            break
        }
        'cyx;help;account;export' {
            break
        }
        'cyx;help;account;delete' {
            break
        }
        'cyx;help;account;keep' {
            break
        }
        'cyx;help;account;words' {
            break
        }
        'cyx;help;audit' {
            break
        }
        'cyx;help;admin' {
            [CompletionResult]::new('users', 'users', [CompletionResultType]::ParameterValue, 'Lists accounts')
            [CompletionResult]::new('plan', 'plan', [CompletionResultType]::ParameterValue, 'Gives an account a plan')
            [CompletionResult]::new('role', 'role', [CompletionResultType]::ParameterValue, 'Gives an account a role')
            [CompletionResult]::new('disable', 'disable', [CompletionResultType]::ParameterValue, 'Disables an account: its logins and API keys end at once. What it has stored stays')
            [CompletionResult]::new('audit', 'audit', [CompletionResultType]::ParameterValue, 'Shows the audit log of the server, or checks that it is whole')
            [CompletionResult]::new('nodes', 'nodes', [CompletionResultType]::ParameterValue, 'Lists the storage nodes: how they are, whose they are, what they hold')
            [CompletionResult]::new('reinstate', 'reinstate', [CompletionResultType]::ParameterValue, 'Takes a disqualified storage node back if it proves what it holds')
            [CompletionResult]::new('drain', 'drain', [CompletionResultType]::ParameterValue, 'Empties a storage node: it gets nothing new, and everything on it is moved to others')
            break
        }
        'cyx;help;admin;users' {
            break
        }
        'cyx;help;admin;plan' {
            break
        }
        'cyx;help;admin;role' {
            break
        }
        'cyx;help;admin;disable' {
            break
        }
        'cyx;help;admin;audit' {
            break
        }
        'cyx;help;admin;nodes' {
            [CompletionResult]::new('show', 'show', [CompletionResultType]::ParameterValue, 'Shows everything that is known of a storage node')
            break
        }
        'cyx;help;admin;nodes;show' {
            break
        }
        'cyx;help;admin;reinstate' {
            break
        }
        'cyx;help;admin;drain' {
            break
        }
        'cyx;help;bucket' {
            [CompletionResult]::new('create', 'create', [CompletionResultType]::ParameterValue, 'Creates a bucket')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Lists the buckets')
            [CompletionResult]::new('delete', 'delete', [CompletionResultType]::ParameterValue, 'Deletes a bucket, which must be empty unless --force is given')
            break
        }
        'cyx;help;bucket;create' {
            break
        }
        'cyx;help;bucket;list' {
            break
        }
        'cyx;help;bucket;delete' {
            break
        }
        'cyx;help;upload' {
            break
        }
        'cyx;help;download' {
            break
        }
        'cyx;help;list' {
            break
        }
        'cyx;help;delete' {
            break
        }
        'cyx;help;stat' {
            break
        }
        'cyx;help;verify' {
            break
        }
        'cyx;help;cat' {
            break
        }
        'cyx;help;cp' {
            break
        }
        'cyx;help;mv' {
            break
        }
        'cyx;help;mkdir' {
            break
        }
        'cyx;help;mount' {
            break
        }
        'cyx;help;umount' {
            break
        }
        'cyx;help;mounts' {
            break
        }
        'cyx;help;trash' {
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Lists what is in the trash of a bucket, newest first')
            [CompletionResult]::new('restore', 'restore', [CompletionResultType]::ParameterValue, 'Restores from the trash to where it was')
            [CompletionResult]::new('empty', 'empty', [CompletionResultType]::ParameterValue, 'Deletes what is in the trash for good')
            break
        }
        'cyx;help;trash;list' {
            break
        }
        'cyx;help;trash;restore' {
            break
        }
        'cyx;help;trash;empty' {
            break
        }
        'cyx;help;node' {
            [CompletionResult]::new('enroll', 'enroll', [CompletionResultType]::ParameterValue, 'Makes a token with which one machine joins as a storage node of this account, and shows it, once')
            [CompletionResult]::new('start', 'start', [CompletionResultType]::ParameterValue, 'Starts a storage node on this machine and returns when it is registered; leaves it running')
            [CompletionResult]::new('stop', 'stop', [CompletionResultType]::ParameterValue, 'Stops the storage node of this machine. What it keeps stays, and is served again after the next start')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Shows how the storage node of this machine is: room, traffic, audits, score, earnings')
            [CompletionResult]::new('exit', 'exit', [CompletionResultType]::ParameterValue, 'Leaves the network for good: everything that this machine''s node keeps is moved to others, verified, before it may go')
            [CompletionResult]::new('list', 'list', [CompletionResultType]::ParameterValue, 'Lists the storage nodes of the account, wherever they run')
            [CompletionResult]::new('earnings', 'earnings', [CompletionResultType]::ParameterValue, 'Shows what a storage node earned, and computes it again from signed orders and measured time')
            break
        }
        'cyx;help;node;enroll' {
            break
        }
        'cyx;help;node;start' {
            break
        }
        'cyx;help;node;stop' {
            break
        }
        'cyx;help;node;status' {
            break
        }
        'cyx;help;node;exit' {
            break
        }
        'cyx;help;node;list' {
            break
        }
        'cyx;help;node;earnings' {
            break
        }
        'cyx;help;dev' {
            [CompletionResult]::new('up', 'up', [CompletionResultType]::ParameterValue, 'Starts the cluster and returns when it is ready; leaves it running')
            [CompletionResult]::new('status', 'status', [CompletionResultType]::ParameterValue, 'Shows what is running')
            [CompletionResult]::new('stop-node', 'stop-node', [CompletionResultType]::ParameterValue, 'Stops one storage node')
            [CompletionResult]::new('start-node', 'start-node', [CompletionResultType]::ParameterValue, 'Starts a storage node that was stopped')
            [CompletionResult]::new('down', 'down', [CompletionResultType]::ParameterValue, 'Stops the cluster')
            break
        }
        'cyx;help;dev;up' {
            break
        }
        'cyx;help;dev;status' {
            break
        }
        'cyx;help;dev;stop-node' {
            break
        }
        'cyx;help;dev;start-node' {
            break
        }
        'cyx;help;dev;down' {
            break
        }
        'cyx;help;completions' {
            break
        }
        'cyx;help;help' {
            break
        }
    })

    $completions.Where{ $_.CompletionText -like "$wordToComplete*" } |
        Sort-Object -Property ListItemText
}
