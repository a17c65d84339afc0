"""The page of `regrun report`: each part of it, and where it is made.

parts       what a page consists of, as plain data
load        a directory → its part, by what the directory holds
cells       question, answer, limits of runs, sweeps and ablations
studies     the same of paths and reproductions
grids       tables
charts      the data of the interactive charts, which `templates/script.js` draws
drawings    the pictures of `regrun plot` as data URIs
setup       config, axes, data, versions, and the commands to do it again
comparison  several directories side by side
page        all parts as one HTML file, from `templates`
"""
