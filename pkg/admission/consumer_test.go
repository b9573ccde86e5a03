// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

const (
	asked              = 0 // the child is created
	never400, later409 = http.StatusBadRequest, http.StatusConflict
)

func TestConsumers(t *testing.T) {
	owners := func(uid, kind string, controller bool) []any {
		return []any{fields{"apiVersion": "tekton.dev/v1", "kind": kind, "name": "release", "uid": uid,
			"controller": controller}}
	}
	for name, c := range map[string]struct {
		change func(*scene)
		code   int32
		text   string // in the message
	}{
		"as Tekton makes it": {func(*scene) {}, asked, ""},

		// Somebody else's values.
		"a TaskRun with the future name alone": {
			func(s *scene) { delete(at(s.build(), "metadata"), "ownerReferences") }, never400,
			"task deploy takes results of task build, TaskRun release-build: " +
				"expected it to be controlled by PipelineRun release, UID " + prUID + ", got none",
		},
		"of another PipelineRun": {
			func(s *scene) { at(s.build(), "metadata")["ownerReferences"] = owners("other", "PipelineRun", true) }, never400,
			"UID other",
		},
		"an owner of another group": {
			func(s *scene) {
				at(s.build(), "metadata")["ownerReferences"] = []any{fields{"apiVersion": "evil.dev/v1", "kind": "PipelineRun",
					"name": "release", "uid": prUID, "controller": true}}
			}, never400, "release-build",
		},
		"told to be another task's": {
			func(s *scene) {
				at(s.run(), "spec")["taskRunSpecs"] = []any{fields{"pipelineTaskName": "deploy",
					"metadata": fields{"labels": fields{"tekton.dev/pipelineTask": "build"}}}}
			}, never400, "taskRunSpecs of task deploy has Tekton write the label tekton.dev/pipelineTask",
		},
		"a claim": {func(s *scene) { s.claim = true }, later409, "is not the add-on's"},
		"owned, not controlled": {
			func(s *scene) { at(s.build(), "metadata")["ownerReferences"] = owners(prUID, "PipelineRun", false) }, never400,
			"release-build",
		},
		"redirected by the status": {
			func(s *scene) {
				other := fields{"metadata": fields{"name": "evil", "namespace": "ci"}, "status": s.build()["status"]}
				s.objects.objects["taskruns/evil"] = other
				at(s.run(), "status")["childReferences"] = []any{fields{"kind": "TaskRun", "name": "evil",
					"pipelineTaskName": "build"}}
			}, never400, "TaskRun evil",
		},
		"redirected to another task of its own": {
			func(s *scene) { at(s.build(), "metadata", "labels")["tekton.dev/pipelineTask"] = "deploy" }, never400,
			"expected its label",
		},
		"named twice": {
			func(s *scene) {
				s.objects.objects["taskruns/evil"] = s.build()
				at(s.run(), "status")["childReferences"] = []any{
					fields{"kind": "TaskRun", "name": "evil", "pipelineTaskName": "build"},
					fields{"kind": "TaskRun", "name": "release-build", "pipelineTaskName": "build"},
				}
			}, never400, "expected 1 of its children",
		},
		"made before Tekton's, with label and owner, of another Task": {
			func(s *scene) {
				s.build()["spec"] = fields{"taskSpec": fields{"steps": []any{fields{"name": "evil", "image": "i"}}}}
			}, never400, "release-build, ran another Task",
		},
		"made before Tekton's, with other parameters": {
			func(s *scene) {
				s.task(0)["params"] = []any{fields{"name": "branch", "value": "main"}}
				at(s.build(), "spec")["params"] = []any{fields{"name": "branch", "value": "evil"}}
			}, never400, `ran with another parameter branch than the pipeline gives: expected "main", got "evil"`,
		},
		"with the parameters of the pipeline": {
			func(s *scene) {
				s.task(0)["params"] = []any{fields{"name": "branch", "value": "main"},
					fields{"name": "of", "value": "$(tasks.first.results.x)"}}
				at(s.build(), "spec")["params"] = []any{fields{"name": "of", "value": "any"},
					fields{"name": "branch", "value": "main"}}
			}, asked, "",
		},
		"a custom run": {(*scene).customBuild, never400,
			"CustomRun release-build: nobody verifies the results of a custom run"},
		"a custom run of a trusted controller": {
			func(s *scene) { s.customBuild(); s.custom = "example.dev/v1/Wait" }, asked, "",
		},
		"a custom run of a trusted controller, of somebody else": {
			func(s *scene) {
				s.customBuild()
				s.custom = "example.dev/v1/Wait"
				at(s.objects.objects["customruns/release-build"], "metadata")["ownerReferences"] = []any{}
			}, never400, "got none",
		},
		"a PipelineRun": {
			func(s *scene) {
				at(s.run(), "status")["childReferences"] = []any{fields{"kind": "PipelineRun", "name": "nested",
					"pipelineTaskName": "build"}}
			}, never400, "PipelineRun nested",
		},
		"not verified": {
			func(s *scene) { at(s.build(), "status")["conditions"] = []any{succeededIs("True"), oursIs("False")} }, never400,
			"is not verified: by hand",
		},
		"gone": {func(s *scene) { delete(s.objects.objects, "taskruns/release-build") }, never400, "is gone"},

		// Other values than the child's.
		"another value": {
			func(s *scene) {
				at(s.created, "spec")["params"] = []any{fields{"name": "where", "value": "here"},
					fields{"name": "image", "value": "app@evil"}}
			}, never400, "parameter image: expected the value of the verified results, sha256:",
		},
		"the result changed meanwhile": {
			func(s *scene) {
				at(s.build(), "status")["results"] = []any{fields{"name": "digest", "type": "string", "value": "sha256:2"}}
			}, never400, "when expression",
		},
		"no result": {func(s *scene) { delete(at(s.build(), "status"), "results") }, never400,
			"parameter image"},
		"in a script":                {func(s *scene) { s.notify("say sha256:1") }, asked, ""},
		"in a script, another value": {func(s *scene) { s.notify("say evil") }, never400, "Task.steps[0].script"},

		// Whose child it is.
		"its PipelineRun is another one": {
			func(s *scene) { at(s.run(), "metadata")["uid"] = "other" }, never400, "expected UID " + prUID + ", got other",
		},
		"its PipelineRun is gone": {func(s *scene) { delete(s.objects.objects, "pipelineruns/release") }, never400,
			"is gone"},
		"it names no task": {
			func(s *scene) { delete(at(s.created, "metadata", "labels"), "tekton.dev/pipelineTask") }, never400,
			"to name a task",
		},
		"it names another task": {
			func(s *scene) { at(s.created, "metadata", "labels")["tekton.dev/pipelineTask"] = "evil" }, never400,
			"to name a task",
		},
		"Tekton would adopt it": {
			func(s *scene) { at(s.created, "metadata")["ownerReferences"] = owners(prUID, "PipelineRun", false) }, never400,
			"to be its controller",
		},
		"the status holds another pipeline": {
			func(s *scene) {
				at(s.run(), "spec")["pipelineSpec"] = fields{"tasks": []any{s.task(0)}}
			}, never400, "another pipeline than its spec",
		},
		"nonsense":                  {func(s *scene) { s.created = fields{"metadata": 5} }, never400, "cannot be read"},
		"a status that is nonsense": {func(s *scene) { s.run()["status"] = "x" }, never400, "cannot be read"},

		// What passes.
		"the child runs": {
			func(s *scene) { at(s.build(), "status")["conditions"] = []any{succeededIs("Unknown")} }, later409,
			"is not completed",
		},
		"not judged yet": {
			func(s *scene) { at(s.build(), "status")["conditions"] = []any{succeededIs("True")} }, later409,
			"holds no verdict yet",
		},
		"two verdicts": {
			func(s *scene) {
				at(s.build(), "status")["conditions"] = []any{succeededIs("True"), oursIs("True"), oursIs("False")}
			}, later409, "holds no verdict yet",
		},
		"the child is not named yet": {
			func(s *scene) {
				delete(at(s.run(), "status"), "childReferences")
				delete(s.objects.objects, "taskruns/release-build")
			}, later409, "names no child yet",
		},
		"not named yet, and its own": {func(s *scene) { delete(at(s.run(), "status"), "childReferences") }, asked, ""},
		"not named, and somebody else's of the future name": {
			func(s *scene) {
				delete(at(s.run(), "status"), "childReferences")
				delete(at(s.build(), "metadata"), "ownerReferences")
			}, never400, "TaskRun release-build: expected it to be controlled by PipelineRun release",
		},
		"the child cannot be read": {
			func(s *scene) {
				s.objects.failing, s.objects.err = "taskruns/release-build", errors.New("out of order")
			}, later409, "out of order",
		},
		"the PipelineRun cannot be read": {
			func(s *scene) {
				s.objects.failing, s.objects.err = "pipelineruns/release", errors.New("100% out of order")
			}, later409, "100 out of order",
		},
		"the status is not stored yet": {
			func(s *scene) {
				s.objects.objects["pipelines/release"] = fields{"spec": at(s.run(), "status", "pipelineSpec")}
				delete(s.run(), "status")
			}, later409, "does not hold its pipeline yet",
		},
		"nor is the pipeline known": {
			func(s *scene) {
				s.run()["spec"] = fields{"pipelineRef": fields{"resolver": "git"}}
				delete(s.run(), "status")
			}, later409, "does not hold its pipeline yet",
		},

		// What is nobody's business here.
		"the first task, the status is not stored yet": {
			func(s *scene) {
				s.objects.objects["pipelines/release"] = fields{"spec": at(s.run(), "status", "pipelineSpec")}
				delete(s.run(), "status")
				s.created["metadata"] = childMeta("release-build", "build")
			}, asked, "",
		},
		"no PipelineRun": {func(s *scene) { delete(at(s.created, "metadata"), "ownerReferences") }, asked, ""},
		"of a PipelineRun, without its label": {
			func(s *scene) {
				at(s.created, "metadata")["ownerReferences"] = owners(prUID, "PipelineRun", false)
				delete(at(s.created, "metadata"), "labels")
			}, asked, "",
		},
		"audit":       {func(s *scene) { s.scope.mode = settings.Audit; s.created = nil }, asked, ""},
		"signing off": {func(s *scene) { s.scope.backend = signing.BackendNone; s.created = nil }, asked, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene()
			c.change(s)
			response := s.admit(t)
			if response.Allowed != (c.code == asked) {
				t.Fatalf("got %+v, want code %d", response, c.code)
			}
			if response.Allowed {
				return
			}
			r := response.Result
			if r.Code != c.code || !strings.Contains(r.Message, c.text) {
				t.Errorf("got %d, %s\nwant %d, %s", r.Code, r.Message, c.code, c.text)
			}
			checkForTekton(t, r)
		})
	}
}

// checkForTekton wants an answer that Tekton's controller reacts to as it should: see handleRunCreationError of its
// reconciler.
func checkForTekton(t *testing.T, r *metav1.Status) {
	t.Helper()
	err := &apierrors.StatusError{ErrStatus: *r}
	if final := apierrors.IsBadRequest(err) || apierrors.IsInvalid(err); final != (r.Code == never400) {
		t.Errorf("%+v: the PipelineRun fails: %v", r, final)
	}
	if again := apierrors.IsConflict(err); again != (r.Code == later409) {
		t.Errorf("%+v: Tekton tries again without more ado: %v", r, again)
	}
	if strings.ContainsAny(r.Message, "%\n\x1b") {
		t.Errorf("Tekton takes the message for a format, and people read it: %q", r.Message)
	}
}

// TestConsumersOfMatrix takes results of a task that runs for each platform.
func TestConsumersOfMatrix(t *testing.T) {
	reference := func(name string) fields { return fields{"kind": "TaskRun", "name": name, "pipelineTaskName": "build"} }
	for name, c := range map[string]struct {
		references []any
		took       []any
		code       int32
	}{
		"both":             {[]any{reference("mac"), reference("linux")}, []any{"sha256:linux", "sha256:mac"}, asked},
		"in another order": {[]any{reference("mac"), reference("linux")}, []any{"sha256:mac", "sha256:linux"}, never400},
		"one more": {[]any{reference("mac"), reference("linux"), reference("evil")},
			[]any{"sha256:evil", "sha256:linux", "sha256:mac"}, never400},
		"one twice": {[]any{reference("mac"), reference("mac")}, []any{"sha256:mac", "sha256:mac"}, never400},
		"one less":  {[]any{reference("mac")}, []any{"sha256:mac"}, later409},
		"another":   {[]any{reference("mac"), reference("evil")}, []any{"sha256:evil", "sha256:mac"}, never400},
	} {
		s := newScene()
		s.task(0)["matrix"] = fields{"params": []any{fields{"name": "platform", "value": []any{"linux", "mac"}}}}
		s.task(1)["params"] = []any{fields{"name": "digests", "value": []any{"$(tasks.build.results.digest[*])"}}}
		delete(s.task(1), "when")
		at(s.created, "spec")["params"] = []any{fields{"name": "digests", "value": c.took}}
		at(s.run(), "status")["childReferences"] = c.references
		for _, platform := range []string{"linux", "mac", "evil"} {
			s.objects.objects["taskruns/"+platform] = fields{
				"metadata": childMeta(platform, "build"),
				"spec": fields{
					"taskRef": fields{"name": "build", "kind": "Task"}, "params": []any{fields{"name": "platform", "value": platform}},
				},
				"status": fields{
					"conditions": []any{succeededIs("True"), oursIs("True")},
					"results":    []any{fields{"name": "digest", "type": "string", "value": "sha256:" + platform}},
				},
			}
		}
		response := s.admit(t)
		if response.Allowed != (c.code == asked) || !response.Allowed && response.Result.Code != c.code {
			t.Errorf("%s: got %+v, want %d", name, response, c.code)
		}
	}
}

// TestConsumersRead no more than the objects that the task depends on.
func TestConsumersRead(t *testing.T) {
	s := newScene()
	s.admit(t)
	if got := strings.Join(s.objects.reads, " "); got != "pipelineruns/release taskruns/release-build" {
		t.Errorf("read %s", got)
	}
	var many []any
	for range maxProducers + 1 {
		many = append(many, fields{"kind": "TaskRun", "name": "release-build", "pipelineTaskName": "build"})
	}
	s = newScene()
	s.task(0)["matrix"] = fields{"params": []any{fields{"name": "p", "value": []any{"a"}}}}
	at(s.run(), "status")["childReferences"] = many
	if response := s.admit(t); response.Allowed || response.Result.Code != never400 {
		t.Errorf("got %+v", response)
	}
	if len(s.objects.reads) > 2 {
		t.Errorf("read %d objects", len(s.objects.reads))
	}
}

// TestConsumersShowNoValues keeps what did not verify out of events.
func TestConsumersShowNoValues(t *testing.T) {
	s := newScene()
	at(s.created, "spec")["params"] = []any{fields{"name": "where", "value": "here"},
		fields{"name": "image", "value": "a-secret"}}
	if r := s.admit(t); strings.Contains(r.Result.Message, "a-secret") {
		t.Error(r.Result.Message)
	}
}

// TestConsumersStarting leaves the answer to the failure policy while the add-on starts.
func TestConsumersStarting(t *testing.T) {
	defer func() {
		if p, _ := recover().(error); !errors.Is(p, http.ErrAbortHandler) {
			t.Errorf("got %v", p)
		}
	}()
	s := newScene()
	s.scope.starting = true
	s.admit(t)
}
