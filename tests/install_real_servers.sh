#!/usr/bin/env bash
# Installs the servers that nobody here wrote, from npm, into .real-servers/ (or the folder that is named).
# The tests that need one of them skip, and say so, where this was not run or has failed.
set -euo pipefail
cd "$(dirname "$0")/.."
folder="${1:-.real-servers}"
install() { npm install --prefix "$folder" --no-audit --no-fund --ignore-scripts --loglevel=error "$@"; }
# A registry that is out of reach keeps npm busy for a quarter of an hour: one question shows it sooner.
timeout 60 npm view oidc-provider@9.13.3 version >/dev/null 2>&1 || { echo "npm's registry is out of reach"; exit 1; }
install oidc-provider@9.13.3
install five-bells-ledger@21.2.5 sqlite3@5.1.7
# The ledger's database driver is compiled here, against the headers that come with node where there are some.
node_home="$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")"
headers=()
[ -e "$node_home/include/node/node.h" ] && headers=("--nodedir=$node_home")
modules="$(cd "$folder/node_modules" && pwd)"
cd "$modules/sqlite3"
"$modules/.bin/node-gyp" rebuild "${headers[@]}" >build.log 2>&1 || { tail -20 build.log; exit 1; }
