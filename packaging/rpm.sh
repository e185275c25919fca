#!/bin/sh
# Makes FOLDER.rpm of the contents that build.sh has made in FOLDER. Untested on Fedora.
# Usage: rpm.sh FOLDER [OPTION...]; OPTION is one of cargo-generate-rpm
set -eu
cd "$(dirname "$0")/.."

tools=$(cd "${CARGO_TARGET_DIR:-target}/tools/packagers/bin" && pwd)
# This version of cargo-generate-rpm takes scripts as text, not as files.
scripts="post_install_script = '''
$(cat packaging/rpm/post)
'''
pre_uninstall_script = '''
$(cat packaging/rpm/preun)
'''
post_uninstall_script = '''
$(cat packaging/rpm/postun)
'''"
cd "$1"
shift
"$tools/cargo-generate-rpm" --set-metadata "$scripts" "$@" --output "$PWD.rpm"
