_regrun_completion() {
    local IFS=$'\n' at word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]}
    COMPREPLY=($(env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD="$COMP_CWORD" \
        _REGRUN_COMPLETE=complete_bash regrun))
    if ((${#COMPREPLY[@]} == 0)); then
        [[ $word == = || $before == = ]] || compopt -o default 2>/dev/null
        return
    fi
    # What goes on after a key or a folder is not ended by a space.
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=/] ]] && compopt -o nospace 2>/dev/null
    for at in "${!COMPREPLY[@]}"; do
        printf -v "COMPREPLY[at]" %q "${COMPREPLY[at]}"
    done
}

complete -F _regrun_completion regrun
