// SPDX-License-Identifier: Apache-2.0

// Command lab-init holds a lab's namespaces: "supervise" on the host, "enter" and then "init" as process 1 inside.
// It is started by the lab and of no use by itself.
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/sandbox"
)

func main() {
	if err := run(os.Args); err != nil {
		log.Fatal(err)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return fmt.Errorf("expected a verb and a configuration file, got %d arguments", len(args)-1)
	}
	verb, file := args[1], args[2]
	log.SetPrefix("lab-init " + verb + ": ")
	config, err := sandbox.LoadConfig(file)
	if err != nil {
		return err
	}
	switch verb {
	case "supervise":
		return sandbox.Supervise(config, []string{args[0], "enter", file})
	case "enter":
		return sandbox.Enter(config, []string{args[0], "init", file})
	case "init":
		return sandbox.Init(config)
	}
	return fmt.Errorf("unknown verb %q", verb)
}
