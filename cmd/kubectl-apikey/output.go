package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/printers"

	keysv1alpha1 "github.com/nexuscommerce/apikey-operator/api/v1alpha1"
	"github.com/nexuscommerce/apikey-operator/internal/keys"
	"github.com/nexuscommerce/apikey-operator/internal/keystate"
	"github.com/nexuscommerce/apikey-operator/internal/printable"
)

// resultVersion is the apiVersion of results that are not objects of the cluster.
const resultVersion = "cli." + keysv1alpha1.GroupName + "/v1alpha1"

// output is the flag -o of a command.
type output struct {
	flags *genericclioptions.PrintFlags
	// own are the command's own formats.
	own []string
}

// addOutput adds -o to a command: kubectl's formats, and the command's own.
func addOutput(cmd *cobra.Command, own ...string) *output {
	o := &output{flags: genericclioptions.NewPrintFlags("").WithTypeSetter(keys.Scheme()), own: own}
	o.flags.AddFlags(cmd)
	formats := slices.Concat(own, o.flags.AllowedFormats())
	cmd.Flags().Lookup("output").Usage = "Output format. One of: " + strings.Join(formats, ", ") + "."
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
	return o
}

// is reports whether a format of the command's own is selected.
func (o *output) is(format string) bool { return *o.flags.OutputFormat == format }

// forPeople reports whether no format for programs is selected.
func (o *output) forPeople() bool {
	return (*o.flags.OutputFormat == "" || slices.Contains(o.own, *o.flags.OutputFormat)) &&
		*o.flags.TemplatePrinterFlags.TemplateArgument == ""
}

// check returns what is wrong with the format, before anything is done.
func (o *output) check() error {
	if o.forPeople() {
		return nil
	}
	_, err := o.flags.ToPrinter()
	if err != nil {
		return usagef("--output: %v", err)
	}
	return nil
}

// print writes an object, or a list, in the selected format.
func (o *output) print(w io.Writer, object runtime.Object) error {
	printer, err := o.flags.ToPrinter()
	if err != nil {
		return usagef("--output: %v", err)
	}
	return printer.PrintObj(object, w)
}

// keyList makes a list that all printers accept, as kubectl does: a List of objects with their kind.
func keyList(all []keysv1alpha1.ApiKey) (*unstructured.UnstructuredList, error) {
	list := &unstructured.UnstructuredList{Items: make([]unstructured.Unstructured, len(all))}
	list.SetAPIVersion("v1")
	list.SetKind("List")
	for i := range all {
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&all[i])
		if err != nil {
			return nil, err
		}
		list.Items[i].Object = fields
		list.Items[i].SetGroupVersionKind(keysv1alpha1.GroupVersion.WithKind("ApiKey"))
	}
	return list, nil
}

// printKeys writes keys in the selected format.
func (o *output) printKeys(w io.Writer, all []keysv1alpha1.ApiKey) error {
	list, err := keyList(all)
	if err != nil {
		return err
	}
	return o.print(w, list)
}

// result wraps a result in an object, so that kubectl's printers accept it.
func result(kind, namespace, name string, content any) (*unstructured.Unstructured, error) {
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(content)
	if err != nil {
		return nil, err
	}
	object := &unstructured.Unstructured{Object: fields}
	object.SetAPIVersion(resultVersion)
	object.SetKind(kind)
	object.SetNamespace(namespace)
	object.SetName(name)
	return object, nil
}

// printableLines escapes control characters in a text of several lines: names may have anything that a user has
// written.
func printableLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = printable.Text(lines[i])
	}
	return strings.Join(lines, "\n")
}

// table writes lines of cells, aligned in columns.
func table(w io.Writer, lines ...[]string) error {
	tab := printers.GetNewTabWriter(w)
	for _, cells := range lines {
		for i := range cells {
			cells[i] = printable.Text(cells[i])
		}
		fmt.Fprintln(tab, strings.Join(cells, "\t"))
	}
	return tab.Flush()
}

const (
	none  = "<none>"
	never = "Never"
)

// date formats a day.
func date(t time.Time) string {
	if t.IsZero() {
		return none
	}
	return t.UTC().Format(time.DateOnly)
}

// moment formats a time.
func moment(t *metav1.Time) string {
	if t == nil {
		return none
	}
	return t.UTC().Format(time.RFC3339)
}

// ago returns how long ago a time is.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return never
	}
	return duration.HumanDuration(max(0, now.Sub(t))) + " ago"
}

// expiry returns when a row's key expires.
func expiry(row *keys.Row) string {
	switch {
	case !row.Expires.IsZero():
		return date(row.Expires)
	case row.Issued.IsZero():
		return none
	}
	return never
}

// state returns a row's state, with the reason if it is failed or waiting.
func state(row *keys.Row) string {
	if row.Reason != "" && (row.State == keystate.StateFailed || row.State == keystate.StateWaiting) {
		return string(row.State) + " (" + row.Reason + ")"
	}
	return string(row.State)
}

// join joins values by commas.
func join[T ~string](values []T) string {
	texts := make([]string, len(values))
	for i := range values {
		texts[i] = string(values[i])
	}
	return strings.Join(texts, ",")
}

func orNone(text string) string {
	if text == "" {
		return none
	}
	return text
}
