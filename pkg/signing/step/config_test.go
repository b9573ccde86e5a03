// SPDX-License-Identifier: Apache-2.0

package step

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

func validConfig() Config {
	return Config{
		Namespace: "ci", TaskRun: "build", TaskRunUID: signing.UID{1}, Container: "step-build", Index: 0, Count: 2, Share: 3072,
		PostFile: "/tekton/run/0/out", TerminationPath: "/tekton/termination", AudiencePrefix: signing.AudiencePrefix,
	}
}

func TestParseReadsWhatArgsWrites(t *testing.T) {
	command := []string{"/tekton/bin/entrypoint", "-post_file", "x", "--", "-index", "--"}
	for name, change := range map[string]func(*Config){
		"plain":        func(*Config) {},
		"last":         func(c *Config) { c.Index = 1 },
		"compress":     func(c *Config) { c.Compress = true },
		"no post file": func(c *Config) { c.PostFile = "" },
	} {
		want := validConfig()
		change(&want)
		got, gotCommand, err := Parse(want.Args(command))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: configuration differs (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(command, gotCommand); diff != "" {
			t.Errorf("%s: command differs (-want +got):\n%s", name, diff)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	valid := strings.Join(validConfig().Args([]string{"true"}), " ")
	for name, c := range map[string]struct{ old, new string }{
		"other command":        {"run ", "walk "},
		"no command":           {"-- true", "--"},
		"no separator":         {"-- true", "true"},
		"missing flag":         {"-namespace ci ", ""},
		"empty value":          {"-namespace ci", "-namespace= "},
		"unknown flag":         {"-namespace ci", "-namespace ci -x"},
		"repeated flag":        {"-namespace ci", "-namespace ci -namespace ci"},
		"other order":          {"-namespace ci -taskrun build", "-taskrun build -namespace ci"},
		"two dashes":           {"-namespace", "--namespace"},
		"leading zero":         {"-index 0", "-index 00"},
		"index beyond count":   {"-index 0", "-index 2"},
		"index beyond a byte":  {"-count 2", "-count 256"},
		"share beyond message": {"-share 3072", "-share 4097"},
		"no share":             {"-share 3072", "-share 0"},
		"UID in upper case":    {"01000000-", "0A000000-"},
		"no UID":               {"01000000-", "00000000-"},
		"relative path":        {"/tekton/termination", "termination"},
		"path with dots":       {"/tekton/run/0/out", "/tekton/run/../out"},
		"words before --":      {"-- true", "x -- true"},
	} {
		args := strings.Fields(strings.Replace(valid, c.old, c.new, 1))
		if slices.Equal(args, strings.Fields(valid)) {
			t.Fatalf("%s: the test changes nothing", name)
		}
		if got, _, err := Parse(args); err == nil {
			t.Errorf("%s: Parse(%q) = %+v, want an error", name, args, got)
		}
	}
}
