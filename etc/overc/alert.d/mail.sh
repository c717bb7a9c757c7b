#!/bin/sh
# Mails the alert on standard input through the local sendmail, or else by mail(1). Its first line
# is the subject, and a link to the dashboard follows where the server knows one.

die() {
    printf 'mail.sh: %s\n' "$1" >&2
    exit 1
}

usage='usage: mail.sh ADDRESS... < message (OVERC_MAIL_FROM sets the sender)'
case ${1-} in
-h | --help) printf '%s\n' "$usage" && exit ;;
esac
[ $# -gt 0 ] || die "give at least one address, $usage"

# Bytes, not characters: the message is UTF-8 whatever the locale.
LC_ALL=C
export LC_ALL

to=
for address in "$@"; do
    case $address in
    '' | -* | *[![:graph:]]* | *,*)
        die "\"$address\" is not one plain address, write it like admin@example.com" ;;
    esac
    to="$to${to:+, }$address"
done

from=${OVERC_MAIL_FROM:-OverC <$(id -un 2>/dev/null || echo overc)@$(uname -n)>}
case $from in
*[![:print:]]*) die 'OVERC_MAIL_FROM must be plain ASCII on one line' ;;
esac

PATH=${PATH:+$PATH:}/usr/sbin:/usr/lib
sendmail=$(command -v sendmail) || mail=$(command -v mail) ||
    die 'no sendmail or mail in PATH, /usr/sbin or /usr/lib: install a mail server or msmtp-mta'

message=$(tr -d '\000') || die 'cannot read the message'
[ -n "$message" ] || die 'there is no message on standard input'
if [ -n "${OVERC_URL-}" ]; then
    message=$message"

$OVERC_URL"
fi
body=$(printf '%s\n' "$message" | base64) || die 'cannot encode the message, is base64 installed?'

# Prints the subject as RFC 2047 words, one a line of at most 76 characters. None ends inside a
# UTF-8 character; the words after the sixth are left out, since the body has them all.
encoded_words() {
    printf '%s\n' "$1" | awk '{
        text = $0
        for (words = 0; words < 6 && text != ""; words++) {
            size = 39
            while (size > 36 && substr(text, size + 1, 1) ~ /[\200-\277]/) size--
            print substr(text, 1, size)
            text = substr(text, size + 1)
        }
    }' | {
        fold=
        while IFS= read -r chunk; do
            printf '%s=?UTF-8?B?%s?=\n' "$fold" "$(printf '%s' "$chunk" | base64)"
            fold=' '
        done
    }
}

subject=$(printf '%s\n' "$message" | head -n 1 | tr '\001-\037\177' ' ' |
    sed 's/^ *//; s/ *$//')
[ -n "$subject" ] || subject='OverC alert'
# Plain text is left readable, unless a mail program would take it for encoded.
case $subject in
*[![:print:]]* | *'=?'*) plain= ;;
*) plain=yes ;;
esac
if [ -z "$plain" ] || [ ${#subject} -gt 69 ]; then
    subject=$(encoded_words "$subject")
fi

if [ -z "$sendmail" ]; then
    # It may take what follows a tilde at the start of a line for a command, or a subject of several
    # lines for further headers.
    subject=$(printf '%s' "$subject" | tr -d '\n')
    printf '%s\n' "$message" | sed 's/^~/ ~/' |
        "$mail" ${OVERC_MAIL_FROM:+-r "$from"} -s "$subject" "$@" ||
        die "$mail did not take the message, its exit status was $?"
    exit
fi

{
    printf '%s: %s\n' \
        From "$from" \
        To "$to" \
        Subject "$subject" \
        Date "$(date -u '+%a, %d %b %Y %H:%M:%S +0000')" \
        Auto-Submitted auto-generated \
        MIME-Version 1.0 \
        Content-Type 'text/plain; charset=utf-8' \
        Content-Transfer-Encoding base64
    printf '\n%s\n' "$body"
} | "$sendmail" -i "$@" || die "$sendmail did not take the message, its exit status was $?"
