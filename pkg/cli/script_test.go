// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/yaml"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/verifytest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"kubectl-tekton_sign": func() {
			streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
			os.Exit(Run(context.Background(), os.Args[0], os.Args[1:], streams))
		},
	})
}

// TestScript runs the scripts of testdata/script. Each finds a trust bundle, TaskRuns that verify and copies that
// do not in its folder, and a fake API server behind its kubeconfig.
func TestScript(t *testing.T) {
	cluster, err := verifytest.NewCluster()
	if err != nil {
		t.Fatal(err)
	}
	files, err := scriptFiles(cluster)
	if err != nil {
		t.Fatal(err)
	}
	history, err := scriptHistory(files)
	if err != nil {
		t.Fatal(err)
	}
	on, drifted, off, err := statusAnswers()
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "unused": unused,
		},
		Setup: func(env *testscript.Env) error {
			server, err := newFakeServer(cluster, nil)
			if err != nil {
				return err
			}
			env.Defer(server.Close)
			withHistory, err := newFakeServer(cluster, history)
			if err != nil {
				return err
			}
			env.Defer(withHistory.Close)
			damaged, err := newFakeServer(cluster, damagedHistory())
			if err != nil {
				return err
			}
			env.Defer(damaged.Close)
			withSettings, err := newFakeServer(cluster, otherSettings())
			if err != nil {
				return err
			}
			env.Defer(withSettings.Close)
			for name, answers := range map[string]map[string]string{"on": on, "drifted": drifted, "off": off} {
				server, err := newFakeServer(cluster, answers)
				if err != nil {
					return err
				}
				env.Defer(server.Close)
				if err := os.WriteFile(filepath.Join(env.WorkDir, "kubeconfig-"+name), kubeconfig(server.URL), 0o600); err != nil {
					return err
				}
			}
			tripwire := newTripwire()
			env.Defer(tripwire.Close)
			env.Values[tripwireKey{}] = tripwire
			env.Setenv("KUBECONFIG", filepath.Join(env.WorkDir, "kubeconfig"))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("TRIPWIRE", tripwire.URL)
			for name, data := range files {
				if err := os.WriteFile(filepath.Join(env.WorkDir, name), data, 0o600); err != nil {
					return err
				}
			}
			for name, url := range map[string]string{
				"kubeconfig": server.URL, "kubeconfig-tripwire": tripwire.URL, "kubeconfig-history": withHistory.URL,
				"kubeconfig-damaged": damaged.URL, "kubeconfig-settings": withSettings.URL,
			} {
				if err := os.WriteFile(filepath.Join(env.WorkDir, name), kubeconfig(url), 0o600); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

// exits runs a program and compares its exit code: exits CODE PROGRAM ARGS...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d: %s\n%s%s", got, want, strings.Join(args[1:], " "), ts.ReadFile("stdout"),
			ts.ReadFile("stderr"))
	}
}

type tripwireKey struct{}

// unused wants that nobody connected to the tripwire; ! unused that somebody did.
func unused(ts *testscript.TestScript, neg bool, _ []string) {
	if n := ts.Value(tripwireKey{}).(*tripwire).connections.Load(); (n == 0) == neg {
		ts.Fatalf("%d connections were opened", n)
	}
}

// scriptFiles returns a trust bundle, TaskRuns and tampered copies by file name.
func scriptFiles(cluster *verifytest.Cluster) (map[string][]byte, error) {
	files := map[string][]byte{}
	var err error
	if files["bundle.json"], err = cluster.Bundle(); err != nil {
		return nil, err
	}
	other, err := verifytest.NewECCluster()
	if err != nil {
		return nil, err
	}
	if files["other-bundle.json"], err = other.Bundle(); err != nil {
		return nil, err
	}
	if err := addMany(cluster, files); err != nil {
		return nil, err
	}
	for name, change := range copies() {
		tr, err := signedTaskRun(cluster, name)
		if err != nil {
			return nil, err
		}
		change(tr)
		if files[name+".yaml"], err = yaml.Marshal(tr); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// addMany adds files with more than one TaskRun each.
func addMany(cluster *verifytest.Cluster, files map[string][]byte) error {
	tr, err := signedTaskRun(cluster, "build")
	if err != nil {
		return err
	}
	one, err := json.Marshal(tr)
	if err != nil {
		return err
	}
	text := string(one)
	list := `{"apiVersion":"v1","items":[` + text + "," + text + `],"kind":"List"}`
	asYAML, err := yaml.JSONToYAML([]byte(list))
	if err != nil {
		return err
	}
	record := func(kind string) string {
		return `{"name":"ci/results/1/records/2","data":{"type":"tekton.dev/v1.` + kind + `","value":"` +
			base64.StdEncoding.EncodeToString(one) + `"}}`
	}
	retried, err := retriedTaskRun(cluster)
	if err != nil {
		return err
	}
	if files["retried.yaml"], err = yaml.Marshal(retried); err != nil {
		return err
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := io.WriteString(z, text+"\n"+text+"\n"); err != nil {
		return err
	}
	files["list.json"], files["list.yaml"] = []byte(list), asYAML
	files["broken.jsonl"] = []byte(text + "\n" + text[:100] + "\n" + text)
	files["export.json"] = []byte(`{"records":[` + record("PipelineRun") + "," + record("TaskRun") + `]}`)
	err = z.Close()
	files["lines.jsonl.gz"] = packed.Bytes()
	return err
}

// retriedTaskRun returns a TaskRun whose first attempt is archived.
func retriedTaskRun(cluster *verifytest.Cluster) (*v1.TaskRun, error) {
	first := verifytest.NewRun()
	first.PodUID = "4db15e48-971f-4815-84b3-272e52f61a11"
	attempt, err := first.TaskRun(cluster)
	if err != nil {
		return nil, err
	}
	second := verifytest.NewRun()
	second.Retries = 1
	tr, err := second.TaskRun(cluster)
	if err != nil {
		return nil, err
	}
	verifytest.DropCarriers(attempt)
	verifytest.DropCarriers(tr)
	tr.Status.RetriesStatus = []v1.TaskRunStatus{attempt.Status}
	return tr, nil
}

// signedTaskRun returns the TaskRun that the copy called name is made of.
func signedTaskRun(cluster *verifytest.Cluster, name string) (*v1.TaskRun, error) {
	run := verifytest.NewRun()
	if name == "unsigned" {
		run.Steps[0].Bare, run.Steps[1].Bare = true, true
	}
	if strings.HasPrefix(name, "silent") {
		run.Spec.Results, run.Steps[0].Entries, run.Steps[1].Entries = nil, nil, nil
	}
	if name == "other-tokens" {
		run.Name = name
		for i := range run.Steps {
			run.Steps[i].Claims = changeTokens
		}
	}
	tr, err := run.TaskRun(cluster)
	if err != nil {
		return nil, err
	}
	verifytest.DropCarriers(tr)
	return tr, nil
}

func copies() map[string]func(*v1.TaskRun) {
	return map[string]func(*v1.TaskRun){
		"build":        func(*v1.TaskRun) {},
		"unsigned":     func(*v1.TaskRun) {},
		"other-tokens": func(*v1.TaskRun) {},
		"byte-changed": func(tr *v1.TaskRun) {
			tr.Status.Results[0].Value.StringVal = strings.Replace(tr.Status.Results[0].Value.StringVal, "2c26", "2c27", 1)
		},
		"swapped": func(tr *v1.TaskRun) {
			a, b := &tr.Status.Results[0], &tr.Status.Results[1]
			a.Value, b.Value, a.Type, b.Type = b.Value, a.Value, b.Type, a.Type
		},
		"added": func(tr *v1.TaskRun) {
			tr.Status.Results = append(tr.Status.Results, v1.TaskRunResult{
				Name: "APPROVED", Type: v1.ResultsTypeString, Value: *v1.NewStructuredValues("\x1b[2K✓ VERIFIED"),
			})
		},
		"uid-changed": func(tr *v1.TaskRun) { tr.UID = "00000000-0000-4000-8000-000000000000" },
		"running":     func(tr *v1.TaskRun) { tr.Status = v1.TaskRunStatus{} },
		"silent":      func(*v1.TaskRun) {},
		"silent-stripped": func(tr *v1.TaskRun) {
			for i := range tr.Status.Steps {
				tr.Status.Steps[i].Terminated.Message = ""
			}
		},
		"empty-run": func(tr *v1.TaskRun) {
			tr.Spec.TaskSpec, tr.Status.TaskSpec, tr.Status.Steps, tr.Status.Results = nil, nil, nil, nil
		},
	}
}

func kubeconfig(server string) []byte {
	return []byte(`apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: "` + server + `"}}]
users: [{name: me, user: {token: x}}]
contexts: [{name: lab, context: {cluster: lab, user: me, namespace: ci}}]
current-context: lab
`)
}
