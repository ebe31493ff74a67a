# Writes `count` lines of exactly 400 bytes with their ends, as a busy web server's syslog has them:
# no two alike, the same ones for the same `seed`.
function pick(list, size) { return list[1 + int(rand() * size)] }
function hex(digits,   text) {
    text = ""
    while (length(text) < digits) text = text sprintf("%07x", int(rand() * 268435456))
    return substr(text, 1, digits)
}
function address() { return int(1 + rand() * 222) "." int(rand() * 256) "." int(rand() * 256) "." int(1 + rand() * 254) }
function line(kind) {
    if (kind < 0.40)
        return "app[" pid "]: level=" pick(level, 4) " request=" hex(16) " user=" pick(user, 12) " method=" pick(method, 4) \
            " path=/api/v1/" pick(word, 24) "/" int(rand() * 100000) " status=" pick(status, 6) " bytes=" int(rand() * 90000) \
            " duration_ms=" int(rand() * 900) " client=" address() " note=\""
    if (kind < 0.65)
        return "nginx: " address() " - - [24/Nov/2026:" clock " +0700] \"" pick(method, 4) " /" pick(word, 24) "/" hex(8) \
            ".html HTTP/1.1\" " pick(status, 6) " " int(rand() * 90000) " \"https://example.gov.vn/" pick(word, 24) \
            "\" \"Mozilla/5.0 (X11; Linux x86_64) "
    if (kind < 0.80)
        return "kernel: [UFW BLOCK] IN=eth0 OUT= MAC=" hex(12) " SRC=" address() " DST=10.20.0.7 LEN=" int(40 + rand() * 1400) \
            " TTL=" int(rand() * 255) " ID=" int(rand() * 65535) " PROTO=TCP SPT=" int(1024 + rand() * 60000) " DPT=" \
            int(rand() * 65535) " WINDOW=" int(rand() * 65535) " "
    if (kind < 0.90)
        return "sudo:   " pick(user, 12) " : TTY=pts/" int(rand() * 9) " ; PWD=/home/" pick(user, 12) \
            " ; USER=root ; COMMAND=/usr/bin/systemctl restart " pick(word, 24) " "
    return "CRON[" pid "]: (" pick(user, 12) ") CMD (/usr/local/bin/report --job " hex(12) " "
}
BEGIN {
    srand(seed)
    split("info info warn error", level)
    split("GET GET POST PUT", method)
    split("200 200 200 304 404 500", status)
    split("an binh chau dung giang hoa khanh lan minh nam phuong quan", user)
    split("account archive budget citizen client council deliver district export form health household import land " \
        "licence message office payment permit query record school session tax", word)
    for (number = 1; number <= count; number++) {
        second = int(number / 2000)
        clock = sprintf("%02d:%02d:%02d", (second / 3600) % 24, (second / 60) % 60, second % 60)
        pid = int(300 + rand() * 32000)
        text = "Nov 24 " clock " web-01 " line(rand()) "n" number
        while (length(text) < 399) text = text " " pick(word, 24)
        print substr(text, 1, 399)
    }
}
