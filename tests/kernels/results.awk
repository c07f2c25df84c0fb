#!/usr/bin/awk -f
# Reads a guest's console; prints for each of its suites:
#   kernel shape backend suite passed failed skipped seconds
# and for each reason of a skip: skip kernel shape backend reason
/^GUEST kernel=/ { kernel = substr($2, 8); sub(/[-+].*/, "", kernel); sub(/.*=/, "", $4); suites = $4 }
/^SUITE / {
    backend = $2; sub(/,.*/, "", backend); if (backend == "-") backend = "any"
    suite = $3; passed = failed = skipped = told = 0; running = 1
}
/^SKIPPED/ { if (!(suite " " $2 in skipping)) told++; skipping[suite " " $2]; reason($0) }
/^test .*ignored \(/ { line = $0; sub(/.*ignored \(/, "", line); sub(/\)$/, "", line); reason(": : " line) }
# A suite that runs itself in another place prints the inner result before its own.
/^test result: / { passed = $4; failed = $6; skipped = $8 }
/^ENDED / {
    split($3, status, "="); split($4, from, "="); split($5, to, "=")
    # A suite that fails, and one of which nothing ran: all was skipped, or nothing bears the name that was asked for.
    if ((status[2] != 0 || passed - told <= 0) && failed == 0) failed = 1
    print kernel, shape, backend, suite, passed - told, failed, skipped + told, to[2] - from[2]
    running = 0; ended++
}
/^LEFT / { print kernel, shape, "any", "left-behind", 0, 1, 0, 0 }
/^GUEST over/ { over = 1 }
END {
    if (!over) print (kernel ? kernel : "unknown"), shape, "any", (running ? suite : "boot") "-did-not-end", 0, 1, 0, 0
    else if (ended != suites) print kernel, shape, "any", "suites-not-run", 0, suites - ended, 0, 0
    for (why in reasons) print "skip", kernel, shape, reasons[why], why | "sort -k 5"
}
function reason(line) { sub(/^[^:]*(::[^:]*)*: [^:]*: /, "", line); reasons[line]++ }
