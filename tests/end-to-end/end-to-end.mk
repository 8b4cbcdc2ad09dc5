# end-to-end tests: shell scripts around build/quasar; lib.sh holds what they share.
END_TO_END =
dist_check_SCRIPTS = $(END_TO_END)
TESTS += $(END_TO_END)
