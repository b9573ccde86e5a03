// SPDX-License-Identifier: Apache-2.0

// Package runs reads the TaskRuns and PipelineRuns that somebody asks for, from a cluster or from files, and verifies them. It reads
// one at a time: memory does not grow with their number. The package prints nothing.
package runs

import (
	"sync"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// Selection is what somebody asks for: objects of a cluster, or files.
type Selection struct {
	Files     []string // files and folders
	Recursive bool     // also the folders in folders

	Args            []string // as kubectl names objects; none: all TaskRuns
	Selector        string   // of labels
	AllNamespaces   bool
	AllowCustomRuns bool // custom runs are read, whose results nothing proves
}

// Cluster is where objects are read from.
type Cluster struct {
	Config  genericclioptions.RESTClientGetter
	Connect func() (*rest.Config, error)
	Explain func(error) error // adds the next step to an error of the cluster
}

// Subject is something to verify. It is read when its turn has come, by one of many workers.
type Subject struct {
	Place string                      // file and position, or what was asked for; empty if there is nothing to distinguish
	Read  func() (*v1.TaskRun, error) // nil for a note and for a PipelineRun
	Size  int                         // of the object in a file, in bytes
	Note  string                      // for people, in the place of an object

	Running     bool         // the note is about something that may still bring more
	PipelineRun *PipelineRun // comes after its children

	live   bool    // the API server handed it out
	shared *shared // of a child of a PipelineRun, nil otherwise
}

// Prefix begins an error about the subject.
func (s Subject) Prefix() string {
	if s.Place == "" {
		return ""
	}
	return s.Place + ": "
}

// shared keeps what was found about a subject that is asked for twice: as itself, and as a child.
type shared struct {
	once    sync.Once
	finding Finding
	taskRun *v1.TaskRun
}

// Finding is what came of a subject. One of Item, Err, Note and PipelineRun is set.
type Finding struct {
	Place       string
	Item        *report.Item
	Err         error // a *verify.Verdict of its own may be in a *Problem
	Note        string
	PipelineRun *report.PipelineRun
}

// Problem is an error that counts as a verdict.
type Problem struct {
	Verdict verify.Verdict
	Err     error
}

func (p *Problem) Error() string { return p.Err.Error() }

// Unwrap returns the cause.
func (p *Problem) Unwrap() error { return p.Err }
