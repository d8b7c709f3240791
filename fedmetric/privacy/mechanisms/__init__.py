"""Privacy mechanisms, one a file; the section `privacy` of an experiment names one."""
