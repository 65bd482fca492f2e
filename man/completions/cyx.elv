
use builtin;
use str;

set edit:completion:arg-completer[cyx] = {|@words|
    fn spaces {|n|
        builtin:repeat $n ' ' | str:join ''
    }
    fn cand {|text desc|
        edit:complex-candidate $text &display=$text' '(spaces (- 14 (wcswidth $text)))$desc
    }
    var command = 'cyx'
    for word $words[1..-1] {
        if (str:has-prefix $word '-') {
            break
        }
        set command = $command';'$word
    }
    var completions = [
        &'cyx'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand register 'Creates an account'
            cand login 'Logs this machine in: password, then a one-time code; or a wallet'
            cand logout 'Logs this machine out: the server forgets the session, this machine its keys'
            cand whoami 'Shows the account that is logged in'
            cand quota 'Shows how much of the plan is used'
            cand status 'Shows the server, the storage nodes and what a new upload would survive'
            cand passwd 'Changes the password'
            cand recover 'Sets a new password with the 24 recovery words'
            cand otp 'Sets up an authenticator app as the second factor of logins'
            cand wallet 'Links wallets that log in to the account without password and code, for miners'
            cand sessions 'Lists and ends logins of other machines'
            cand apikey 'Makes, lists and revokes API keys, with which scripts and machines work without a login'
            cand rotate 'Replaces the keys of buckets, in case somebody kept them who had an API key, a login or a share'
            cand account 'Changes the address, takes the account along, ends it, or makes new recovery words'
            cand audit 'Shows what happened to the account: logins, refusals, changes of factors, keys and passwords'
            cand admin 'Looks after the accounts of a server. For administrators'
            cand bucket 'Creates, lists and deletes buckets'
            cand upload 'Uploads files and directories'
            cand download 'Downloads files and directories'
            cand list 'Lists buckets, or what is in one'
            cand delete 'Moves files and directories to the trash, or deletes them for good'
            cand stat 'Shows all about a file or directory, and how many more lost nodes it survives: its nodes are asked'
            cand verify 'Has storage nodes prove that files are still there, and shows what they would survive'
            cand cat 'Writes files to standard output'
            cand cp 'Copies a file or directory within its bucket or to another'
            cand mv 'Renames or moves a file or directory within its bucket'
            cand mkdir 'Makes directories'
            cand mount 'Mounts the buckets as a directory'
            cand umount 'Takes a mount off, after sending what was written'
            cand mounts 'Lists the mounts and what they are doing'
            cand trash 'Lists, restores and empties the trash of a bucket'
            cand node 'Offers disk space to a network, looks after the storage node of this machine, and shows what it earns'
            cand dev 'Runs a whole cluster on this machine: one server and several storage nodes'
            cand completions 'Prints a completion script for a shell'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;register'= {
            cand -e 'Email address; codes for logging in go there'
            cand --email 'Email address; codes for logging in go there'
            cand -u 'User name: 3 to 32 letters, digits and underscores'
            cand --username 'User name: 3 to 32 letters, digits and underscores'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --password-stdin 'Reads the password from standard input, up to the first line end'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;login'= {
            cand -e 'Email address of the account'
            cand --email 'Email address of the account'
            cand --session 'Finishes the login that `--begin` began'
            cand --otp 'The one-time code'
            cand --wallet 'Logs in with the wallet whose key is in this file, as solana-keygen writes it. Nobody else may be able to read the file'
            cand --wallet-address 'With --begin: prints the text that the wallet of this address is to sign'
            cand --signature 'The wallet''s signature of that text, in base58'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --password-stdin 'Reads the password from standard input, up to the first line end'
            cand --begin 'Only checks the password and has the code sent; prints what `--session` needs'
            cand --without-keys 'Does without the keys of the account: files cannot be opened by this login'
            cand --accept-changes 'Goes on although the server was restored from a backup or changed its parameters for this account'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;logout'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;whoami'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;quota'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;status'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;passwd'= {
            cand --session 'Goes on with what `--begin` began'
            cand --otp 'The one-time code; without --session only that of an authenticator app, or a backup code'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --password-stdin 'Reads the password from standard input, up to the first line end'
            cand --begin 'Only checks the password and has a code sent; prints what `--session` needs'
            cand --new-password-stdin 'Reads the new password from standard input, behind the current one if that is read from there too'
            cand --revoke-api-keys 'Revokes all API keys too'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;recover'= {
            cand -e 'Email address of the account'
            cand --email 'Email address of the account'
            cand --session 'Finishes the recovery that `--begin` began'
            cand --otp 'The mailed code'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --begin 'Only has a code sent; prints what `--session` needs'
            cand --words-stdin 'Reads the recovery words from standard input, up to the first line end'
            cand --password-stdin 'Reads the new password from standard input, behind the words if they are read from there too'
            cand --new-words 'Makes new recovery words and shows them; the old ones open nothing any more'
            cand --remove-factors 'Removes the authenticator app too, because it was lost'
            cand --keep-api-keys 'Keeps API keys working'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;otp'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand enroll 'Sets up an authenticator app: shows a QR code to scan, and takes a code of the app to confirm it'
            cand list 'Shows where the codes of logins come from, and how many backup codes are left'
            cand remove 'Removes the authenticator app and its backup codes; codes come by mail again'
            cand backup-codes 'Replaces the backup codes and shows the new ones, once'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;otp;enroll'= {
            cand --session 'Goes on with what `--begin` began'
            cand --otp 'The one-time code; without --session only that of an authenticator app, or a backup code'
            cand --confirm 'A code of the app, which puts it in force'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --password-stdin 'Reads the password from standard input, up to the first line end'
            cand --begin 'Only checks the password and has a code sent; prints what `--session` needs'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;otp;list'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;otp;remove'= {
            cand --session 'Goes on with what `--begin` began'
            cand --otp 'The one-time code; without --session only that of an authenticator app, or a backup code'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --password-stdin 'Reads the password from standard input, up to the first line end'
            cand --begin 'Only checks the password and has a code sent; prints what `--session` needs'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;otp;backup-codes'= {
            cand --session 'Goes on with what `--begin` began'
            cand --otp 'The one-time code; without --session only that of an authenticator app, or a backup code'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --password-stdin 'Reads the password from standard input, up to the first line end'
            cand --begin 'Only checks the password and has a code sent; prints what `--session` needs'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;otp;help'= {
            cand enroll 'Sets up an authenticator app: shows a QR code to scan, and takes a code of the app to confirm it'
            cand list 'Shows where the codes of logins come from, and how many backup codes are left'
            cand remove 'Removes the authenticator app and its backup codes; codes come by mail again'
            cand backup-codes 'Replaces the backup codes and shows the new ones, once'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;otp;help;enroll'= {
        }
        &'cyx;otp;help;list'= {
        }
        &'cyx;otp;help;remove'= {
        }
        &'cyx;otp;help;backup-codes'= {
        }
        &'cyx;otp;help;help'= {
        }
        &'cyx;wallet'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand text 'Prints the text that a wallet has to sign to be linked, for wallets whose key is not in a file'
            cand link 'Links a wallet to the account: from then on a signature of it logs in, without password and code'
            cand list 'Lists the wallets that log in to the account'
            cand remove 'Ends the link of a wallet, and the logins that it made. Needs the password and a code'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;wallet;text'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;wallet;link'= {
            cand --keypair 'The wallet''s key, in a file as solana-keygen writes it'
            cand --text 'The text that was signed, as `cyx wallet text` names it'
            cand --signature 'The wallet''s signature of it, in base58'
            cand --session 'Goes on with what `--begin` began'
            cand --otp 'The one-time code; without --session only that of an authenticator app, or a backup code'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --password-stdin 'Reads the password from standard input, up to the first line end'
            cand --begin 'Only checks the password and has a code sent; prints what `--session` needs'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;wallet;list'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;wallet;remove'= {
            cand --session 'Goes on with what `--begin` began'
            cand --otp 'The one-time code; without --session only that of an authenticator app, or a backup code'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --password-stdin 'Reads the password from standard input, up to the first line end'
            cand --begin 'Only checks the password and has a code sent; prints what `--session` needs'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;wallet;help'= {
            cand text 'Prints the text that a wallet has to sign to be linked, for wallets whose key is not in a file'
            cand link 'Links a wallet to the account: from then on a signature of it logs in, without password and code'
            cand list 'Lists the wallets that log in to the account'
            cand remove 'Ends the link of a wallet, and the logins that it made. Needs the password and a code'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;wallet;help;text'= {
        }
        &'cyx;wallet;help;link'= {
        }
        &'cyx;wallet;help;list'= {
        }
        &'cyx;wallet;help;remove'= {
        }
        &'cyx;wallet;help;help'= {
        }
        &'cyx;sessions'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand list 'Lists the machines that are logged in, the one used last first'
            cand revoke 'Ends logins: the server forgets the keys it kept for these machines, and they can do nothing more'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;sessions;list'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;sessions;revoke'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --all 'Ends every login, that of this machine too'
            cand --others 'Ends every login but that of this machine'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;sessions;help'= {
            cand list 'Lists the machines that are logged in, the one used last first'
            cand revoke 'Ends logins: the server forgets the keys it kept for these machines, and they can do nothing more'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;sessions;help;list'= {
        }
        &'cyx;sessions;help;revoke'= {
        }
        &'cyx;sessions;help;help'= {
        }
        &'cyx;apikey'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand create 'Makes an API key and shows its token, once'
            cand list 'Lists the API keys and when each was last used'
            cand revoke 'Revokes API keys: their tokens are refused, and the server forgets the keys it kept for them'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;apikey;create'= {
            cand --name 'What it is for; shown in lists and in the audit log'
            cand --permissions 'What it may do: storage:read, storage:write, or both with a comma'
            cand --bucket 'The only bucket it may open'
            cand --expires 'When it ends: a time from now (90d, 12h, 1y) or a day (2027-01-31). Default: a year'
            cand --session 'Goes on with what `--begin` began'
            cand --otp 'The one-time code; without --session only that of an authenticator app, or a backup code'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --password-stdin 'Reads the password from standard input, up to the first line end'
            cand --begin 'Only checks the password and has a code sent; prints what `--session` needs'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;apikey;list'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;apikey;revoke'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;apikey;help'= {
            cand create 'Makes an API key and shows its token, once'
            cand list 'Lists the API keys and when each was last used'
            cand revoke 'Revokes API keys: their tokens are refused, and the server forgets the keys it kept for them'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;apikey;help;create'= {
        }
        &'cyx;apikey;help;list'= {
        }
        &'cyx;apikey;help;revoke'= {
        }
        &'cyx;apikey;help;help'= {
        }
        &'cyx;rotate'= {
            cand --session 'Goes on with what `--begin` began; the password is needed once more'
            cand --otp 'The one-time code; without --session only that of an authenticator app, or a backup code'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --resume 'Goes on with what was interrupted on this machine, instead of replacing the keys once more'
            cand --account 'Replaces the account key, the identity keys and the recovery words'
            cand --all-buckets 'Then replaces the keys of all buckets'
            cand -y 'Does not ask whether other logins and API keys may end'
            cand --yes 'Does not ask whether other logins and API keys may end'
            cand --password-stdin 'Reads the password from standard input, up to the first line end'
            cand --begin 'Only checks the password and has a code sent; prints what `--session` needs'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;account'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand email 'Changes the email address, which is what you log in with'
            cand export 'Writes everything that the server holds about the account to a file, one JSON document per line'
            cand delete 'Has the account and all its files deleted for good, after a time of grace'
            cand keep 'Keeps an account that was to be deleted'
            cand words 'Makes new recovery words and shows them, once; the old ones open nothing any more. Needs the password and a code'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;account;email'= {
            cand --session 'Goes on with what `--begin` began'
            cand --otp 'The one-time code; without --session only that of an authenticator app, or a backup code'
            cand --change 'Finishes the change that was printed as change_id'
            cand --otp-old 'The code from the old address'
            cand --otp-new 'The code from the new address'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --password-stdin 'Reads the password from standard input, up to the first line end'
            cand --begin 'Only checks the password and has a code sent; prints what `--session` needs'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;account;export'= {
            cand -o 'The file; `-` for standard output. Default: cyx-account-NAME.ndjson in this folder'
            cand --output 'The file; `-` for standard output. Default: cyx-account-NAME.ndjson in this folder'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;account;delete'= {
            cand --session 'Goes on with what `--begin` began'
            cand --otp 'The one-time code; without --session only that of an authenticator app, or a backup code'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --password-stdin 'Reads the password from standard input, up to the first line end'
            cand --begin 'Only checks the password and has a code sent; prints what `--session` needs'
            cand --yes 'Does not ask whether you mean it; needed where nobody can be asked'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;account;keep'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;account;words'= {
            cand --session 'Goes on with what `--begin` began'
            cand --otp 'The one-time code; without --session only that of an authenticator app, or a backup code'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --password-stdin 'Reads the password from standard input, up to the first line end'
            cand --begin 'Only checks the password and has a code sent; prints what `--session` needs'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;account;help'= {
            cand email 'Changes the email address, which is what you log in with'
            cand export 'Writes everything that the server holds about the account to a file, one JSON document per line'
            cand delete 'Has the account and all its files deleted for good, after a time of grace'
            cand keep 'Keeps an account that was to be deleted'
            cand words 'Makes new recovery words and shows them, once; the old ones open nothing any more. Needs the password and a code'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;account;help;email'= {
        }
        &'cyx;account;help;export'= {
        }
        &'cyx;account;help;delete'= {
        }
        &'cyx;account;help;keep'= {
        }
        &'cyx;account;help;words'= {
        }
        &'cyx;account;help;help'= {
        }
        &'cyx;audit'= {
            cand --since 'Only what happened since: a time ago (7d, 12h) or a day (2026-11-01)'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;admin'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand users 'Lists accounts'
            cand plan 'Gives an account a plan'
            cand role 'Gives an account a role'
            cand disable 'Disables an account: its logins and API keys end at once. What it has stored stays'
            cand audit 'Shows the audit log of the server, or checks that it is whole'
            cand nodes 'Lists the storage nodes: how they are, whose they are, what they hold'
            cand reinstate 'Takes a disqualified storage node back if it proves what it holds'
            cand drain 'Empties a storage node: it gets nothing new, and everything on it is moved to others'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;admin;users'= {
            cand --search 'Only those whose user name or email address contains this'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;admin;plan'= {
            cand --limit-gb 'Space in GB, if it is not that of the plan'
            cand --traffic-gb 'Monthly traffic in GB, if it is not that of the plan'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;admin;role'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;admin;disable'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --undo 'Lets it work again'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;admin;audit'= {
            cand --since 'Only what happened since: a time ago (7d, 12h) or a day (2026-11-01)'
            cand --account 'Only what concerns the account of this id'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --check 'Checks the chain of all entries instead; exit code 1 if it is broken'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;admin;nodes'= {
            cand --state 'Only those in this state'
            cand --standing 'Only those with this standing, which follows from their audits'
            cand --leaving 'Only those that leave in this way, or not at all'
            cand --owner 'Only those of this account: user name, email address or id'
            cand --region 'Only those in this region'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand show 'Shows everything that is known of a storage node'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;admin;nodes;show'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;admin;nodes;help'= {
            cand show 'Shows everything that is known of a storage node'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;admin;nodes;help;show'= {
        }
        &'cyx;admin;nodes;help;help'= {
        }
        &'cyx;admin;reinstate'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;admin;drain'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --cancel 'Lets it stay after all'
            cand --status 'Only shows how far it is'
            cand --wait 'Returns when nothing is left on it'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;admin;help'= {
            cand users 'Lists accounts'
            cand plan 'Gives an account a plan'
            cand role 'Gives an account a role'
            cand disable 'Disables an account: its logins and API keys end at once. What it has stored stays'
            cand audit 'Shows the audit log of the server, or checks that it is whole'
            cand nodes 'Lists the storage nodes: how they are, whose they are, what they hold'
            cand reinstate 'Takes a disqualified storage node back if it proves what it holds'
            cand drain 'Empties a storage node: it gets nothing new, and everything on it is moved to others'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;admin;help;users'= {
        }
        &'cyx;admin;help;plan'= {
        }
        &'cyx;admin;help;role'= {
        }
        &'cyx;admin;help;disable'= {
        }
        &'cyx;admin;help;audit'= {
        }
        &'cyx;admin;help;nodes'= {
            cand show 'Shows everything that is known of a storage node'
        }
        &'cyx;admin;help;nodes;show'= {
        }
        &'cyx;admin;help;reinstate'= {
        }
        &'cyx;admin;help;drain'= {
        }
        &'cyx;admin;help;help'= {
        }
        &'cyx;bucket'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand create 'Creates a bucket'
            cand list 'Lists the buckets'
            cand delete 'Deletes a bucket, which must be empty unless --force is given'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;bucket;create'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --durable 'Stores 10+10 instead of 10+4 shards: any 10 of 20 nodes may vanish, for twice the space'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;bucket;list'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;bucket;delete'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --force 'Deletes all that is in it, for good'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;bucket;help'= {
            cand create 'Creates a bucket'
            cand list 'Lists the buckets'
            cand delete 'Deletes a bucket, which must be empty unless --force is given'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;bucket;help;create'= {
        }
        &'cyx;bucket;help;list'= {
        }
        &'cyx;bucket;help;delete'= {
        }
        &'cyx;bucket;help;help'= {
        }
        &'cyx;upload'= {
            cand -b 'The bucket'
            cand --bucket 'The bucket'
            cand -k 'Key to store under; with several paths or a trailing slash, the folder to store them in'
            cand --key 'Key to store under; with several paths or a trailing slash, the folder to store them in'
            cand --include 'Only files that match; may be repeated. `*` and `?` stop at slashes, `**` does not; a pattern without a slash matches at any depth'
            cand --exclude 'Not what matches; may be repeated and wins over --include. A directory that matches is left out with all it contains'
            cand --if-match 'Refuses (exit code 7) unless this is the version that would be replaced'
            cand --durability 'When an upload counts as done'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand -r 'Uploads directories with all they contain'
            cand --recursive 'Uploads directories with all they contain'
            cand --if-absent 'Refuses (exit code 7) if the key exists'
            cand --checksum 'Compares contents, not sizes and times, to find what is unchanged'
            cand -n 'Says what would be uploaded and uploads nothing'
            cand --dry-run 'Says what would be uploaded and uploads nothing'
            cand --abort 'Drops what an interrupted upload of these paths left behind instead of uploading'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;download'= {
            cand -k 'Key of a file, or of a directory with -r; without it, the whole bucket (needs -r)'
            cand --key 'Key of a file, or of a directory with -r; without it, the whole bucket (needs -r)'
            cand -o 'Where to: a file, a directory, or `-` for standard output'
            cand --output 'Where to: a file, a directory, or `-` for standard output'
            cand --include 'Only files that match; may be repeated. `*` and `?` stop at slashes, `**` does not; a pattern without a slash matches at any depth'
            cand --exclude 'Not what matches; may be repeated and wins over --include. A directory that matches is left out with all it contains'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand -r 'Downloads a directory with all it contains'
            cand --recursive 'Downloads a directory with all it contains'
            cand --no-clobber 'Leaves files that exist as they are'
            cand -n 'Says what would be downloaded and downloads nothing'
            cand --dry-run 'Says what would be downloaded and downloads nothing'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;list'= {
            cand --prefix 'Only keys that begin like this'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand -l 'Shows permissions, size, time and version'
            cand --long 'Shows permissions, size, time and version'
            cand -r 'Lists directories with all they contain'
            cand --recursive 'Lists directories with all they contain'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;delete'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand -r 'Deletes directories with all they contain'
            cand --recursive 'Deletes directories with all they contain'
            cand --permanent 'Deletes for good instead of moving to the trash'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;stat'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --scrub 'Has the nodes read what they keep of the file; without it they say what they know. Takes a while for large files'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;verify'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --full 'Has every byte proven instead of a random slice of each shard'
            cand --strict 'Fails for files with a shard that is missing, also if they can be read'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;cat'= {
            cand --offset 'Begins at this byte'
            cand --length 'Stops after this many bytes'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;cp'= {
            cand --to-bucket 'The bucket to copy to, if it is another one'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand -r 'Copies a directory with all it contains'
            cand --recursive 'Copies a directory with all it contains'
            cand --no-clobber 'Refuses (exit code 7) if the new key exists'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;mv'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --no-clobber 'Refuses (exit code 7) if the new key exists'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;mkdir'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand -p 'Makes missing parents too, and does not mind if the directory exists'
            cand --parents 'Makes missing parents too, and does not mind if the directory exists'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;mount'= {
            cand -o 'Mount options, separated by commas; may be repeated'
            cand -b 'Mounts one bucket instead of all'
            cand --bucket 'Mounts one bucket instead of all'
            cand --uid 'Shows every file as owned by this user'
            cand --gid 'Shows every file as owned by this group'
            cand --umask 'Takes permission bits away from what is shown, as umask(1) does'
            cand --cache-dir 'Where the journal and the cache lie; default: cache/ in ~/.cyxcloud (or CYXCLOUD_HOME)'
            cand --cache-size 'Bound of the journal and the cache on disk, for example 50G; default 10G'
            cand --memory 'Bound of the memory for content that is read ahead or sent, for example 512M; default 256M'
            cand --fsync 'What `fsync` waits for; default local'
            cand --close 'What `close` waits for; default local, which waits for nothing more than the write itself'
            cand --metrics 'Answers Prometheus at /metrics of this address, for example 127.0.0.1:9273'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand -f 'Stays in the foreground, logs to standard error and ends with the mount'
            cand --foreground 'Stays in the foreground, logs to standard error and ends with the mount'
            cand --read-only 'Lets nothing be changed. What an earlier mount left in the cache directory is still sent'
            cand --allow-other 'Lets other users of this machine in, as far as the permissions of files go'
            cand --discard-deleted 'Lets go of what could not be sent to buckets that were deleted, or are not open to this account any more. Without it that is kept'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;umount'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand -f 'Takes it off although it is in use or changes are pending'
            cand --force 'Takes it off although it is in use or changes are pending'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;mounts'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;trash'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand list 'Lists what is in the trash of a bucket, newest first'
            cand restore 'Restores from the trash to where it was'
            cand empty 'Deletes what is in the trash for good'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;trash;list'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;trash;restore'= {
            cand --as 'Restores under another name in the same directory; with one key only'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;trash;empty'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;trash;help'= {
            cand list 'Lists what is in the trash of a bucket, newest first'
            cand restore 'Restores from the trash to where it was'
            cand empty 'Deletes what is in the trash for good'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;trash;help;list'= {
        }
        &'cyx;trash;help;restore'= {
        }
        &'cyx;trash;help;empty'= {
        }
        &'cyx;trash;help;help'= {
        }
        &'cyx;node'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand enroll 'Makes a token with which one machine joins as a storage node of this account, and shows it, once'
            cand start 'Starts a storage node on this machine and returns when it is registered; leaves it running'
            cand stop 'Stops the storage node of this machine. What it keeps stays, and is served again after the next start'
            cand status 'Shows how the storage node of this machine is: room, traffic, audits, score, earnings'
            cand exit 'Leaves the network for good: everything that this machine''s node keeps is moved to others, verified, before it may go'
            cand list 'Lists the storage nodes of the account, wherever they run'
            cand earnings 'Shows what a storage node earned, and computes it again from signed orders and measured time'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;node;enroll'= {
            cand --label 'What it is for; shown to you alone'
            cand --expires-hours 'For how many hours the token is good'
            cand --central-server 'Where nodes register, for the command that is shown; default: the port that the server names, or else 50052'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;node;start'= {
            cand --home 'Folder of the node''s state, log and settings; default: CYXCLOUD_HOME or ~/.cyxcloud'
            cand --storage-gb 'GiB to offer, at least 3; 2 of them are the network''s reserve'
            cand --storage-path 'Folder of the chunks and the node''s key; default: what node.toml says, where it was the last time, or else node-data in the node''s folder'
            cand --central-server 'Where nodes register; default: what node.toml says, the port that the server names when it is asked for a token, where this node registered last, or else port 50052 of the server'
            cand --public-addr 'Where clients reach this node, host or host:port; the server checks it'
            cand --region 'Region of this node, a word such as eu-west'
            cand --payout-address 'Where you want to be paid, a word such as an account number'
            cand --grpc-port 'Port for chunks; 0 is any free one'
            cand --metrics-port 'Port for metrics, health and `cyx node status`; 0 is any free one'
            cand --timeout 'Seconds to wait for the node to become ready'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;node;stop'= {
            cand --home 'Folder of the node''s state, log and settings; default: CYXCLOUD_HOME or ~/.cyxcloud'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;node;status'= {
            cand --home 'Folder of the node''s state, log and settings; default: CYXCLOUD_HOME or ~/.cyxcloud'
            cand --metrics 'Where the node answers, if `cyx node start` did not start it, for example 127.0.0.1:9090'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand -w 'Shows it anew every two seconds until Ctrl-C'
            cand --watch 'Shows it anew every two seconds until Ctrl-C'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;node;exit'= {
            cand --home 'Folder of the node''s state, log and settings; default: CYXCLOUD_HOME or ~/.cyxcloud'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --status 'Only shows how far it is'
            cand --cancel 'Stays after all; possible until everything is moved'
            cand -y 'Does not ask whether the node shall leave'
            cand --yes 'Does not ask whether the node shall leave'
            cand --no-wait 'Returns at once instead of waiting until everything is moved'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;node;list'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;node;earnings'= {
            cand --home 'Folder of the node''s state, log and settings; default: CYXCLOUD_HOME or ~/.cyxcloud'
            cand --node 'The node; default: that of this machine, or the only one of the account'
            cand --epochs 'How many epochs, the newest first'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --verify 'Computes every statement again from its facts'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;node;help'= {
            cand enroll 'Makes a token with which one machine joins as a storage node of this account, and shows it, once'
            cand start 'Starts a storage node on this machine and returns when it is registered; leaves it running'
            cand stop 'Stops the storage node of this machine. What it keeps stays, and is served again after the next start'
            cand status 'Shows how the storage node of this machine is: room, traffic, audits, score, earnings'
            cand exit 'Leaves the network for good: everything that this machine''s node keeps is moved to others, verified, before it may go'
            cand list 'Lists the storage nodes of the account, wherever they run'
            cand earnings 'Shows what a storage node earned, and computes it again from signed orders and measured time'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;node;help;enroll'= {
        }
        &'cyx;node;help;start'= {
        }
        &'cyx;node;help;stop'= {
        }
        &'cyx;node;help;status'= {
        }
        &'cyx;node;help;exit'= {
        }
        &'cyx;node;help;list'= {
        }
        &'cyx;node;help;earnings'= {
        }
        &'cyx;node;help;help'= {
        }
        &'cyx;dev'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
            cand up 'Starts the cluster and returns when it is ready; leaves it running'
            cand status 'Shows what is running'
            cand stop-node 'Stops one storage node'
            cand start-node 'Starts a storage node that was stopped'
            cand down 'Stops the cluster'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;dev;up'= {
            cand --dir 'The cluster''s folder; default: dev/ in ~/.cyxcloud (or CYXCLOUD_HOME)'
            cand --nodes 'Number of storage nodes; default 14, or as many as the folder has'
            cand --port 'Port of the server; default: a free one'
            cand --timeout 'Seconds to wait for the cluster to become ready'
            cand --server-arg 'Passes an argument to cyx-server, now and at later starts; may be repeated. Takes the place of all that were given to an earlier `up`; an empty one gives none'
            cand --node-arg 'Passes an argument to every cyx-node, as --server-arg does to the server'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;dev;status'= {
            cand --dir 'The cluster''s folder; default: dev/ in ~/.cyxcloud (or CYXCLOUD_HOME)'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;dev;stop-node'= {
            cand --dir 'The cluster''s folder; default: dev/ in ~/.cyxcloud (or CYXCLOUD_HOME)'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --kill 'Kills it (SIGKILL) as a crash would, instead of letting it finish'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;dev;start-node'= {
            cand --dir 'The cluster''s folder; default: dev/ in ~/.cyxcloud (or CYXCLOUD_HOME)'
            cand --timeout 'Seconds to wait for the node to become ready'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;dev;down'= {
            cand --dir 'The cluster''s folder; default: dev/ in ~/.cyxcloud (or CYXCLOUD_HOME)'
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --wipe 'Deletes the cluster''s data as well'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;dev;help'= {
            cand up 'Starts the cluster and returns when it is ready; leaves it running'
            cand status 'Shows what is running'
            cand stop-node 'Stops one storage node'
            cand start-node 'Starts a storage node that was stopped'
            cand down 'Stops the cluster'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;dev;help;up'= {
        }
        &'cyx;dev;help;status'= {
        }
        &'cyx;dev;help;stop-node'= {
        }
        &'cyx;dev;help;start-node'= {
        }
        &'cyx;dev;help;down'= {
        }
        &'cyx;dev;help;help'= {
        }
        &'cyx;completions'= {
            cand --gateway 'Address of the server'
            cand --ca-file 'PEM file of the certificate authorities to trust instead of the operating system''s'
            cand --json 'Prints JSON on standard output: one document, or one per line for lists'
            cand -q 'Prints only what was asked for, and errors'
            cand --quiet 'Prints only what was asked for, and errors'
            cand -v 'Says more on standard error; twice for debugging, three times for everything'
            cand --verbose 'Says more on standard error; twice for debugging, three times for everything'
            cand -h 'Print help (see more with ''--help'')'
            cand --help 'Print help (see more with ''--help'')'
            cand -V 'Print version'
            cand --version 'Print version'
        }
        &'cyx;help'= {
            cand register 'Creates an account'
            cand login 'Logs this machine in: password, then a one-time code; or a wallet'
            cand logout 'Logs this machine out: the server forgets the session, this machine its keys'
            cand whoami 'Shows the account that is logged in'
            cand quota 'Shows how much of the plan is used'
            cand status 'Shows the server, the storage nodes and what a new upload would survive'
            cand passwd 'Changes the password'
            cand recover 'Sets a new password with the 24 recovery words'
            cand otp 'Sets up an authenticator app as the second factor of logins'
            cand wallet 'Links wallets that log in to the account without password and code, for miners'
            cand sessions 'Lists and ends logins of other machines'
            cand apikey 'Makes, lists and revokes API keys, with which scripts and machines work without a login'
            cand rotate 'Replaces the keys of buckets, in case somebody kept them who had an API key, a login or a share'
            cand account 'Changes the address, takes the account along, ends it, or makes new recovery words'
            cand audit 'Shows what happened to the account: logins, refusals, changes of factors, keys and passwords'
            cand admin 'Looks after the accounts of a server. For administrators'
            cand bucket 'Creates, lists and deletes buckets'
            cand upload 'Uploads files and directories'
            cand download 'Downloads files and directories'
            cand list 'Lists buckets, or what is in one'
            cand delete 'Moves files and directories to the trash, or deletes them for good'
            cand stat 'Shows all about a file or directory, and how many more lost nodes it survives: its nodes are asked'
            cand verify 'Has storage nodes prove that files are still there, and shows what they would survive'
            cand cat 'Writes files to standard output'
            cand cp 'Copies a file or directory within its bucket or to another'
            cand mv 'Renames or moves a file or directory within its bucket'
            cand mkdir 'Makes directories'
            cand mount 'Mounts the buckets as a directory'
            cand umount 'Takes a mount off, after sending what was written'
            cand mounts 'Lists the mounts and what they are doing'
            cand trash 'Lists, restores and empties the trash of a bucket'
            cand node 'Offers disk space to a network, looks after the storage node of this machine, and shows what it earns'
            cand dev 'Runs a whole cluster on this machine: one server and several storage nodes'
            cand completions 'Prints a completion script for a shell'
            cand help 'Print this message or the help of the given subcommand(s)'
        }
        &'cyx;help;register'= {
        }
        &'cyx;help;login'= {
        }
        &'cyx;help;logout'= {
        }
        &'cyx;help;whoami'= {
        }
        &'cyx;help;quota'= {
        }
        &'cyx;help;status'= {
        }
        &'cyx;help;passwd'= {
        }
        &'cyx;help;recover'= {
        }
        &'cyx;help;otp'= {
            cand enroll 'Sets up an authenticator app: shows a QR code to scan, and takes a code of the app to confirm it'
            cand list 'Shows where the codes of logins come from, and how many backup codes are left'
            cand remove 'Removes the authenticator app and its backup codes; codes come by mail again'
            cand backup-codes 'Replaces the backup codes and shows the new ones, once'
        }
        &'cyx;help;otp;enroll'= {
        }
        &'cyx;help;otp;list'= {
        }
        &'cyx;help;otp;remove'= {
        }
        &'cyx;help;otp;backup-codes'= {
        }
        &'cyx;help;wallet'= {
            cand text 'Prints the text that a wallet has to sign to be linked, for wallets whose key is not in a file'
            cand link 'Links a wallet to the account: from then on a signature of it logs in, without password and code'
            cand list 'Lists the wallets that log in to the account'
            cand remove 'Ends the link of a wallet, and the logins that it made. Needs the password and a code'
        }
        &'cyx;help;wallet;text'= {
        }
        &'cyx;help;wallet;link'= {
        }
        &'cyx;help;wallet;list'= {
        }
        &'cyx;help;wallet;remove'= {
        }
        &'cyx;help;sessions'= {
            cand list 'Lists the machines that are logged in, the one used last first'
            cand revoke 'Ends logins: the server forgets the keys it kept for these machines, and they can do nothing more'
        }
        &'cyx;help;sessions;list'= {
        }
        &'cyx;help;sessions;revoke'= {
        }
        &'cyx;help;apikey'= {
            cand create 'Makes an API key and shows its token, once'
            cand list 'Lists the API keys and when each was last used'
            cand revoke 'Revokes API keys: their tokens are refused, and the server forgets the keys it kept for them'
        }
        &'cyx;help;apikey;create'= {
        }
        &'cyx;help;apikey;list'= {
        }
        &'cyx;help;apikey;revoke'= {
        }
        &'cyx;help;rotate'= {
        }
        &'cyx;help;account'= {
            cand email 'Changes the email address, which is what you log in with'
            cand export 'Writes everything that the server holds about the account to a file, one JSON document per line'
            cand delete 'Has the account and all its files deleted for good, after a time of grace'
            cand keep 'Keeps an account that was to be deleted'
            cand words 'Makes new recovery words and shows them, once; the old ones open nothing any more. Needs the password and a code'
        }
        &'cyx;help;account;email'= {
        }
        &'cyx;help;account;export'= {
        }
        &'cyx;help;account;delete'= {
        }
        &'cyx;help;account;keep'= {
        }
        &'cyx;help;account;words'= {
        }
        &'cyx;help;audit'= {
        }
        &'cyx;help;admin'= {
            cand users 'Lists accounts'
            cand plan 'Gives an account a plan'
            cand role 'Gives an account a role'
            cand disable 'Disables an account: its logins and API keys end at once. What it has stored stays'
            cand audit 'Shows the audit log of the server, or checks that it is whole'
            cand nodes 'Lists the storage nodes: how they are, whose they are, what they hold'
            cand reinstate 'Takes a disqualified storage node back if it proves what it holds'
            cand drain 'Empties a storage node: it gets nothing new, and everything on it is moved to others'
        }
        &'cyx;help;admin;users'= {
        }
        &'cyx;help;admin;plan'= {
        }
        &'cyx;help;admin;role'= {
        }
        &'cyx;help;admin;disable'= {
        }
        &'cyx;help;admin;audit'= {
        }
        &'cyx;help;admin;nodes'= {
            cand show 'Shows everything that is known of a storage node'
        }
        &'cyx;help;admin;nodes;show'= {
        }
        &'cyx;help;admin;reinstate'= {
        }
        &'cyx;help;admin;drain'= {
        }
        &'cyx;help;bucket'= {
            cand create 'Creates a bucket'
            cand list 'Lists the buckets'
            cand delete 'Deletes a bucket, which must be empty unless --force is given'
        }
        &'cyx;help;bucket;create'= {
        }
        &'cyx;help;bucket;list'= {
        }
        &'cyx;help;bucket;delete'= {
        }
        &'cyx;help;upload'= {
        }
        &'cyx;help;download'= {
        }
        &'cyx;help;list'= {
        }
        &'cyx;help;delete'= {
        }
        &'cyx;help;stat'= {
        }
        &'cyx;help;verify'= {
        }
        &'cyx;help;cat'= {
        }
        &'cyx;help;cp'= {
        }
        &'cyx;help;mv'= {
        }
        &'cyx;help;mkdir'= {
        }
        &'cyx;help;mount'= {
        }
        &'cyx;help;umount'= {
        }
        &'cyx;help;mounts'= {
        }
        &'cyx;help;trash'= {
            cand list 'Lists what is in the trash of a bucket, newest first'
            cand restore 'Restores from the trash to where it was'
            cand empty 'Deletes what is in the trash for good'
        }
        &'cyx;help;trash;list'= {
        }
        &'cyx;help;trash;restore'= {
        }
        &'cyx;help;trash;empty'= {
        }
        &'cyx;help;node'= {
            cand enroll 'Makes a token with which one machine joins as a storage node of this account, and shows it, once'
            cand start 'Starts a storage node on this machine and returns when it is registered; leaves it running'
            cand stop 'Stops the storage node of this machine. What it keeps stays, and is served again after the next start'
            cand status 'Shows how the storage node of this machine is: room, traffic, audits, score, earnings'
            cand exit 'Leaves the network for good: everything that this machine''s node keeps is moved to others, verified, before it may go'
            cand list 'Lists the storage nodes of the account, wherever they run'
            cand earnings 'Shows what a storage node earned, and computes it again from signed orders and measured time'
        }
        &'cyx;help;node;enroll'= {
        }
        &'cyx;help;node;start'= {
        }
        &'cyx;help;node;stop'= {
        }
        &'cyx;help;node;status'= {
        }
        &'cyx;help;node;exit'= {
        }
        &'cyx;help;node;list'= {
        }
        &'cyx;help;node;earnings'= {
        }
        &'cyx;help;dev'= {
            cand up 'Starts the cluster and returns when it is ready; leaves it running'
            cand status 'Shows what is running'
            cand stop-node 'Stops one storage node'
            cand start-node 'Starts a storage node that was stopped'
            cand down 'Stops the cluster'
        }
        &'cyx;help;dev;up'= {
        }
        &'cyx;help;dev;status'= {
        }
        &'cyx;help;dev;stop-node'= {
        }
        &'cyx;help;dev;start-node'= {
        }
        &'cyx;help;dev;down'= {
        }
        &'cyx;help;completions'= {
        }
        &'cyx;help;help'= {
        }
    ]
    $completions[$command]
}
