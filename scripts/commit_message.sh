#!/bin/sh
# Refuse a commit message that has not the form of CONTRIBUTING.md; $1 is the file it is in.
set -eu
# What git adds by itself, below the scissors and in comments, is no part of it.
message=$(sed -e '/^# -* >8 -*$/,$d' -e '/^#/d' "$1")

refuse() {
	echo "commit message: $1 (see CONTRIBUTING.md)" >&2
	exit 1
}

subject=$(printf '%s\n' "$message" | sed -n 1p)
case $subject in fixup!* | squash!* | "Merge "* | "Revert "*) exit 0 ;; esac
[ -n "$subject" ] || refuse "the first line is empty"
[ "${#subject}" -le 72 ] || refuse "the subject has ${#subject} characters, more than 72"
[ -z "$(printf '%s\n' "$message" | sed -n 2p)" ] || refuse "the second line is not empty"
[ -n "$(printf '%s\n' "$message" | sed -n '3,$p')" ] || refuse "there is no body that says why"
