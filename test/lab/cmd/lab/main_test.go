// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"lab": main})
}

// TestScripts runs the command as a person would, as far as that needs no lab.
func TestScripts(t *testing.T) {
	project, err := filepath.Abs(filepath.Join("..", "..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PROJECT", project)
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("TEKTON_SIGN_LAB_NAME", "")
			return nil
		},
		Condition: func(condition string) (bool, error) { return condition == "root" && os.Getuid() == 0, nil },
	})
}
