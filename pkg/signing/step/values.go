// SPDX-License-Identifier: Apache-2.0

package step

import (
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

// Values name the files that hold what a step emits, if that travels by the log of Tekton's results sidecar.
// They come from the sidecar's own arguments, so that the step signs what the sidecar reads.
type Values struct {
	ResultsDir  string   // folder of the task's results; set for the last step only
	Results     []string // names of the task's results
	StepDir     string   // folder of the step
	StepResults []string // names of the step's results
	Artifacts   bool     // the sidecar reads the step's artifacts
}

const (
	flagSidecarLogs = "sidecar-logs"
	flagResultsDir  = "results-dir"
	flagResultNames = "result-names"
	flagStepDir     = "step-dir"
	flagStepResults = "step-result-names"
	flagArtifacts   = "artifacts"
)

// args returns the arguments that addValueFlags reads.
func (v Values) args() []string {
	args := []string{"-" + flagSidecarLogs, "-" + flagStepDir, v.StepDir}
	if len(v.StepResults) > 0 {
		args = append(args, "-"+flagStepResults, strings.Join(v.StepResults, ","))
	}
	if v.Artifacts {
		args = append(args, "-"+flagArtifacts)
	}
	if v.ResultsDir != "" {
		args = append(args, "-"+flagResultsDir, v.ResultsDir)
	}
	if len(v.Results) > 0 {
		args = append(args, "-"+flagResultNames, strings.Join(v.Results, ","))
	}
	return args
}

// valueFlags hold values while they are parsed.
type valueFlags struct {
	on     bool
	values Values
}

// get returns the values, or nil if the mode is off. Parse finds flags of values without the mode, because it
// compares the arguments with those that Args writes.
func (f *valueFlags) get() *Values {
	if !f.on {
		return nil
	}
	return &f.values
}

func addValueFlags(fs *flag.FlagSet) *valueFlags {
	f := &valueFlags{}
	fs.BoolVar(&f.on, flagSidecarLogs, false, "")
	fs.StringVar(&f.values.StepDir, flagStepDir, "", "")
	fs.Func(flagStepResults, "", listVar(&f.values.StepResults))
	fs.BoolVar(&f.values.Artifacts, flagArtifacts, false, "")
	fs.StringVar(&f.values.ResultsDir, flagResultsDir, "", "")
	fs.Func(flagResultNames, "", listVar(&f.values.Results))
	return f
}

func listVar(list *[]string) func(string) error {
	return func(s string) error {
		*list = strings.Split(s, ",")
		return nil
	}
}

// validate returns an error for the first value that no step can have.
func (v Values) validate(format signing.Format, last bool) error {
	switch {
	case format != signing.FormatV2:
		return fmt.Errorf("format %s cannot sign what travels by the log of a sidecar", format)
	case !cleanPath(v.StepDir):
		return fmt.Errorf("expected a clean absolute -%s, got %q", flagStepDir, v.StepDir)
	case last && !cleanPath(v.ResultsDir):
		return fmt.Errorf("expected a clean absolute -%s, got %q", flagResultsDir, v.ResultsDir)
	case !last && (v.ResultsDir != "" || len(v.Results) > 0):
		return errors.New("only the last step signs the task's results")
	}
	if err := CheckFileNames(v.Results); err != nil {
		return err
	}
	return CheckFileNames(v.StepResults)
}

// CheckFileNames returns an error if the name of a result cannot be the name of a file in a folder, or if it
// occurs twice.
func CheckFileNames(names []string) error {
	for i, name := range names {
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/,\x00") {
			return fmt.Errorf("%q cannot be the file of a result", name)
		}
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("result %q is named twice", name)
		}
	}
	return nil
}
