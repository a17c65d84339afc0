#compdef regrun

_regrun() {
    local -a ended open
    local line entry
    for line in "${(@f)$(env _TYPER_COMPLETE_ARGS="${words[1,$CURRENT]}" \
        _TYPER_COMPLETE_FISH_ACTION=get-args _REGRUN_COMPLETE=complete_fish regrun)}"; do
        [[ -n $line ]] || continue
        entry=${${line%%$'\t'*}//:/\\:}
        [[ $line == *$'\t'* ]] && entry+=":${line#*$'\t'}"
        # What goes on after a key or a folder is not ended by a space.
        if [[ ${line%%$'\t'*} == *[=/] ]]; then open+=($entry); else ended+=($entry); fi
    done
    if (($#ended + $#open)); then
        _describe 'regrun' ended -- open -S ''
    elif [[ $words[CURRENT] != *=* ]]; then
        _files
    fi
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _regrun "$@"
else
    compdef _regrun regrun
fi
