#!/bin/sh
# Say in one sentence what this machine lacks to set spark_ctr up: check_tools.sh PYTHON
python=${1:-python3.11}

fail() {
    echo "spark_ctr: $1" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 ||
    fail "there is no $python: install Python 3.11 or name one with \`make PYTHON=/path/to/python3.11\`."
found=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) ||
    fail "$python does not start: install Python 3.11 or name one with \`make PYTHON=/path/to/python3.11\`."
[ "$found" = 3.11 ] ||
    fail "$python is Python $found, but the pinned environments need 3.11: name one with \`make PYTHON=/path/to/python3.11\`."
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$python cannot make virtual environments: install its venv module (Debian's package is python3.11-venv)."

# Spark looks at JAVA_HOME first, too.
java=${JAVA_HOME:+$JAVA_HOME/bin/}java
way_out="install a Java 17 runtime and put it on PATH or point JAVA_HOME at it"
command -v "$java" >/dev/null 2>&1 || fail "there is no $java, which Spark runs on: $way_out."
major=$("$java" -version 2>&1 | sed -n 's/.* version "\(1\.\)\{0,1\}\([0-9][0-9]*\).*/\2/p' | head -n 1)
[ -n "$major" ] || fail "\`$java -version\` fails: $way_out."
[ "$major" -ge 17 ] || fail "$java is Java $major, but Spark 4 needs 17 or newer: $way_out."
