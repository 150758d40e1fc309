"""Reports of finished fits for a reader: one page of HTML that needs nothing else, and what MultiQC takes.

`page.facts` makes plain dictionaries of runs, `page.render` writes them into the templates.

What may enter: sentences, tables and plots of what verbs and runs find.
Never: numbers of its own.
"""
