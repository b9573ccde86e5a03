// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/object"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// Action is what a plan does with an object.
type Action string

// The actions of a plan.
const (
	Create    Action = "create"
	Update    Action = "update"
	Delete    Action = "delete"
	Unchanged Action = "unchanged"
	Keep      Action = "keep" // disable leaves it in the cluster
	Lift      Action = "lift" // remove the holds of the gate in front of Chains
)

// Change is what a plan does to one object.
type Change struct {
	Action Action
	Object *unstructured.Unstructured // the wanted state; for Delete the kind, the namespace and the name
	Keys   []KeyChange                // of ConfigMap config-signing
	Note   string                     // for people; empty: the action explains itself
}

// Plan is a list of changes in the order in which they are made.
type Plan struct {
	Environment Environment
	Settings    settings.Settings
	SignerImage string // of a plan to enable: the image that pods will get
	Changes     []Change
	Purge       bool      // of a plan to disable: the trust history is deleted, too
	Warnings    []Warning // what the user should know before agreeing to it
	Obstacles   []string  // of a plan to enable: why it must not be carried out
}

// Empty reports whether the plan changes nothing.
func (p Plan) Empty() bool {
	for _, c := range p.Changes {
		if c.Action != Unchanged && c.Action != Keep {
			return false
		}
	}
	return true
}

// Count returns how many objects have the action.
func (p Plan) Count(action Action) int {
	n := 0
	for _, c := range p.Changes {
		if c.Action == action {
			n++
		}
	}
	return n
}

// Request is what the user wants enabled.
type Request struct {
	Settings settings.Settings
	Keep     []string // keys of the settings that stay as they are in the cluster, because the user did not name them
	Registry string   // prefix of the images
	Version  string   // tag of the images
}

// Desired returns the objects of the installation that r asks for, in the order in which they are applied.
func (r Request) Desired(env Environment) ([]*unstructured.Unstructured, error) {
	if err := backends.Check(r.Settings); err != nil {
		return nil, err
	}
	if _, err := settings.Parse(r.Settings.Data()); err != nil {
		return nil, err
	}
	if err := r.Settings.Scope.CheckReserved(settings.Reserved(env.TektonNamespace)); err != nil {
		return nil, err
	}
	objects, err := manifests.Render(r.options(env))
	if err != nil {
		return nil, err
	}
	desired := make([]*unstructured.Unstructured, len(objects))
	for i, typed := range objects {
		if desired[i], err = object.From(typed); err != nil {
			return nil, err
		}
	}
	return desired, nil
}

func (r Request) options(env Environment) manifests.Options {
	return manifests.Options{
		TektonNamespace: env.TektonNamespace, TektonAccount: env.TektonAccount,
		Registry: r.Registry, Version: r.Version, Settings: r.Settings,
	}
}
