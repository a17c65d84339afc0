function __regrun_complete
    set -l word (commandline -ct)
    set -l found (env _TYPER_COMPLETE_ARGS=(commandline -cp) _TYPER_COMPLETE_FISH_ACTION=get-args \
        _REGRUN_COMPLETE=complete_fish regrun)
    if test -n "$found[1]"
        printf '%s\n' $found
    else if not string match -q '*=*' -- $word
        __fish_complete_path $word
    end
end

complete --command regrun --no-files --arguments '(__regrun_complete)'
