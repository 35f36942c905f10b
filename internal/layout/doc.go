// Package layout holds the repository's invariants as tests: which folder may
// import which, what the protocol packages must keep out of (files, network,
// wall clock, logging), and a few habits that only stay true when a machine
// checks them. It contains no code that anything imports.
//
// Read rules_test.go first: the rules are tables and pure functions, and every
// one of them carries the reason that a failing build prints. Then tree_test.go,
// which turns a file tree into the facts that the rules judge, by parsing, so
// that files for every operating system and build tag are seen. layout_test.go
// feeds each rule a violation, to prove that it can fail, and then runs all of
// them over this module.
//
// What is left out of the tree: _test.go files, folders that the go command
// ignores (testdata and names starting with "." or "_"), vendor, node_modules,
// and folders with a go.mod of their own, which are modules with rules of their
// own.
package layout
