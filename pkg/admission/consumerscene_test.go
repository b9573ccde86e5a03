// SPDX-License-Identifier: Apache-2.0

package admission

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
)

const prUID = "9a1b3c5d-0000-4000-8000-000000000001"

// fakeObjects are the objects of a namespace, by resource/name.
type fakeObjects struct {
	objects map[string]fields
	err     error // of reading what failing names
	failing string
	reads   []string
}

func (f *fakeObjects) Get(ctx context.Context, resource schema.GroupVersionResource, namespace,
	name string) (*unstructured.Unstructured, error) {
	key := resource.Resource + "/" + name
	f.reads = append(f.reads, key)
	if _, bounded := ctx.Deadline(); !bounded || namespace != "ci" {
		return nil, errors.New("an unbounded read, or one of another namespace")
	}
	if f.failing == key {
		return nil, f.err
	}
	object, ok := f.objects[key]
	if !ok {
		return nil, apierrors.NewNotFound(resource.GroupResource(), name)
	}
	data, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	found := &unstructured.Unstructured{}
	return found, json.Unmarshal(data, &found.Object)
}

type trusts string

func (t trusts) TrustedCustomTask(apiVersion, kind string) bool {
	return apiVersion+"/"+kind == string(t)
}

// childMeta is the metadata of a child of the PipelineRun.
func childMeta(name, task string) fields {
	return fields{
		"name": name, "namespace": "ci", "labels": fields{"tekton.dev/pipelineRun": "release",
			"tekton.dev/pipelineTask": task},
		"ownerReferences": []any{fields{"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "name": "release",
			"uid": prUID, "controller": true}},
	}
}

// scene is a PipelineRun whose task build is done, and whose task deploy is about to start with what build gave.
type scene struct {
	objects *fakeObjects
	scope   fakeScope
	custom  trusts
	created fields
	kind    string
	claim   bool // the verdicts are not the add-on's
}

func newScene() *scene {
	pipeline := fields{"tasks": []any{
		fields{"name": "build", "taskRef": fields{"name": "build", "kind": "Task"}},
		fields{
			"name": "deploy", "taskRef": fields{"name": "deploy", "kind": "Task"},
			"params": []any{fields{"name": "image", "value": "app@$(tasks.build.results.digest)"},
				fields{"name": "where", "value": "here"}},
			"when": []any{fields{"input": "$(tasks.build.results.digest)", "operator": "in", "values": []any{"sha256:1"}}},
		},
	}, "finally": []any{fields{
		"name": "notify", "taskSpec": fields{"steps": []any{fields{"name": "s", "image": "i",
			"script": "say $(tasks.build.results.digest)"}}},
	}}}
	build := fields{
		"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": childMeta("release-build", "build"),
		"spec": fields{"taskRef": fields{"name": "build", "kind": "Task"}},
		"status": fields{
			"conditions": []any{succeededIs("True"), oursIs("True")},
			"results":    []any{fields{"name": "digest", "type": "string", "value": "sha256:1"}},
		},
	}
	run := fields{
		"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "metadata": fields{"name": "release", "namespace": "ci",
			"uid": prUID},
		"spec": fields{"pipelineRef": fields{"name": "release"}},
		"status": fields{
			"pipelineSpec":    pipeline,
			"childReferences": []any{fields{"kind": "TaskRun", "name": "release-build", "pipelineTaskName": "build"}},
		},
	}
	return &scene{
		objects: &fakeObjects{objects: map[string]fields{"pipelineruns/release": run, "taskruns/release-build": build}},
		scope:   fakeScope{backend: signing.BackendOIDCSAToken, mode: settings.Enforce}, kind: "taskruns",
		created: fields{"metadata": childMeta("release-deploy", "deploy"), "spec": fields{
			"taskRef": fields{"name": "deploy", "kind": "Task"},
			"params":  []any{fields{"name": "where", "value": "here"}, fields{"name": "image", "value": "app@sha256:1"}},
		}},
	}
}

// at returns the fields at a path.
func at(object fields, path ...string) fields {
	for _, name := range path {
		object, _ = object[name].(fields)
	}
	return object
}

func (s *scene) run() fields { return s.objects.objects["pipelineruns/release"] }

func (s *scene) build() fields { return s.objects.objects["taskruns/release-build"] }

func (s *scene) task(i int) fields {
	tasks, _ := at(s.run(), "status", "pipelineSpec")["tasks"].([]any)
	task, _ := tasks[i].(fields)
	return task
}

func (s *scene) notify(script string) {
	s.created = fields{"metadata": childMeta("release-notify", "notify"), "spec": fields{
		"taskSpec": fields{"steps": []any{fields{"name": "s", "image": "i", "script": script}}},
	}}
}

func (s *scene) customBuild() {
	s.task(0)["taskRef"] = fields{"apiVersion": "example.dev/v1", "kind": "Wait", "name": "w"}
	at(s.run(), "status")["childReferences"] = []any{fields{"kind": "CustomRun", "name": "release-build",
		"pipelineTaskName": "build"}}
	s.objects.objects["customruns/release-build"] = fields{
		"metadata": childMeta("release-build", "build"),
		"status":   fields{"results": []any{fields{"name": "digest", "value": "sha256:1"}}},
	}
}

// judge proves every condition but those of scenes whose conditions are claims.
func (s *scene) judge() SealJudge {
	return SealJudge{func(context.Context, *unstructured.Unstructured) bool { return !s.claim }}
}

func (s *scene) admit(t *testing.T) *admissionv1.AdmissionResponse {
	t.Helper()
	h := &ConsumerHandler{Scope: s.scope, Reader: s.objects, Judge: s.judge(), Custom: s.custom, Log: quiet()}
	return h.Admit(t.Context(), &admissionv1.AdmissionRequest{
		Namespace: "ci", Name: "release-deploy", Object: raw(t, s.created),
		Resource: metav1.GroupVersionResource{Group: "tekton.dev", Version: "v1", Resource: s.kind},
	})
}
