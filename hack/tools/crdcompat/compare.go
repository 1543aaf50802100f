package main

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
)

// object is a JSON object.
type object = map[string]any

// get returns the value at a path of names, or nil.
func get(from any, path ...string) any {
	for _, name := range path {
		o, ok := from.(object)
		if !ok {
			return nil
		}
		from = o[name]
	}
	return from
}

// list returns a JSON array, or nil.
func list(value any) []any {
	l, _ := value.([]any)
	return l
}

// text returns a JSON string, or "".
func text(value any) string {
	s, _ := value.(string)
	return s
}

// find returns the element of a list whose field has a value.
func find(elements any, field, value string) object {
	for _, element := range list(elements) {
		if o, ok := element.(object); ok && text(o[field]) == value {
			return o
		}
	}
	return nil
}

// compare returns what in a CustomResourceDefinition the next one breaks.
func compare(before, after object) (breaks []string) {
	for _, path := range [][]string{
		{"spec", "group"}, {"spec", "scope"}, {"spec", "names", "kind"}, {"spec", "names", "plural"},
		{"spec", "names", "singular"},
	} {
		if was, is := get(before, path...), get(after, path...); was != is {
			breaks = append(breaks, fmt.Sprintf("%s: was %v, is %v", path[len(path)-1], was, is))
		}
	}
	for _, name := range list(get(before, "spec", "names", "shortNames")) {
		if !slices.Contains(list(get(after, "spec", "names", "shortNames")), name) {
			breaks = append(breaks, fmt.Sprintf("the short name %v is gone", name))
		}
	}
	for _, version := range list(get(before, "spec", "versions")) {
		was, ok := version.(object)
		if !ok || was["served"] != true {
			continue
		}
		name := text(was["name"])
		is := find(get(after, "spec", "versions"), "name", name)
		if is == nil || is["served"] != true {
			breaks = append(breaks, fmt.Sprintf("version %s is not served any more", name))
			continue
		}
		breaks = append(breaks, compareVersion(name, was, is)...)
	}
	return breaks
}

func compareVersion(name string, before, after object) (breaks []string) {
	for subresource := range asObject(before["subresources"]) {
		if get(after, "subresources", subresource) == nil {
			breaks = append(breaks, fmt.Sprintf("%s: the subresource %s is gone", name, subresource))
		}
	}
	for _, field := range list(before["selectableFields"]) {
		path := text(get(field, "jsonPath"))
		if find(after["selectableFields"], "jsonPath", path) == nil {
			breaks = append(breaks, fmt.Sprintf("%s: objects can't be selected by %s any more", name, path))
		}
	}
	s := &schemas{}
	s.compare(name, asObject(get(before, "schema", "openAPIV3Schema")), asObject(get(after, "schema", "openAPIV3Schema")))
	slices.Sort(s.breaks)
	return append(breaks, s.breaks...)
}

func asObject(value any) object {
	o, _ := value.(object)
	return o
}

// schemas collects the differences between schemas that break something.
type schemas struct{ breaks []string }

func (s *schemas) add(path, format string, args ...any) {
	s.breaks = append(s.breaks, path+": "+fmt.Sprintf(format, args...))
}

// harmless has the keywords that validate nothing.
var harmless = []string{"description", "title", "example", "externalDocs"}

// compare compares the schemas of a field and of everything below it, keyword by keyword.
func (s *schemas) compare(path string, before, after object) {
	keywords := slices.Sorted(maps.Keys(before))
	for keyword := range after {
		if !slices.Contains(keywords, keyword) {
			keywords = append(keywords, keyword)
		}
	}
	for _, keyword := range keywords {
		was, is := before[keyword], after[keyword]
		if slices.Contains(harmless, keyword) || reflect.DeepEqual(was, is) {
			continue
		}
		switch keyword {
		case "properties":
			s.properties(path, asObject(was), asObject(is))
		case "required":
			s.required(path, was, is, asObject(after["properties"]))
		case "items", "additionalProperties":
			s.element(path, keyword, was, is)
		case "x-kubernetes-validations":
			s.rules(path, was, is)
		default:
			s.keyword(path, keyword, was, is)
		}
	}
}

func (s *schemas) properties(path string, before, after object) {
	for name, was := range before {
		is, ok := after[name]
		if !ok {
			s.add(path+"."+name, "the field is gone")
			continue
		}
		s.compare(path+"."+name, asObject(was), asObject(is))
	}
}

// required compares the required fields. A field with a default is always present.
func (s *schemas) required(path string, before, after any, properties object) {
	for _, name := range list(after) {
		if !slices.Contains(list(before), name) && get(properties, text(name), "default") == nil {
			s.add(path+"."+text(name), "is required now")
		}
	}
}

// element compares the schemas of a list's or a map's values.
func (s *schemas) element(path, keyword string, before, after any) {
	was, wasSchema := before.(object)
	is, isSchema := after.(object)
	if wasSchema && isSchema {
		s.compare(path+"[]", was, is)
		return
	}
	s.add(path, "%s: was %v, is %v", keyword, before, after)
}

// rules compares CEL rules. Removing a rule accepts more; any other change may accept less.
func (s *schemas) rules(path string, before, after any) {
	for _, rule := range list(after) {
		if find(before, "rule", text(get(rule, "rule"))) == nil {
			s.add(path, "a new rule: %s", text(get(rule, "rule")))
		}
	}
}

// loosened reports, for each keyword that is known, whether a change of it accepts everything that was accepted before.
var loosened = map[string]func(was, is any) bool{
	"maxLength": higher, "maxItems": higher, "maxProperties": higher, "maximum": higher,
	"minLength": lower, "minItems": lower, "minProperties": lower, "minimum": lower,
	"pattern": gone, "format": gone, "uniqueItems": gone, "exclusiveMinimum": gone, "exclusiveMaximum": gone,
	"multipleOf": gone, "not": gone,
	"enum": func(was, is any) bool {
		return is == nil || was != nil && !slices.ContainsFunc(list(was), func(value any) bool {
			return !slices.Contains(list(is), value)
		})
	},
	"nullable":                             func(_, is any) bool { return is == true },
	"x-kubernetes-preserve-unknown-fields": func(_, is any) bool { return is == true },
	"default":                              func(was, _ any) bool { return was == nil },
}

func higher(was, is any) bool { return is == nil || was != nil && number(is) > number(was) }
func lower(was, is any) bool  { return is == nil || was != nil && number(is) < number(was) }
func gone(_, is any) bool     { return is == nil }

// keyword compares any other keyword. A change is a break unless it is known to loosen.
func (s *schemas) keyword(path, keyword string, was, is any) {
	if harmless := loosened[keyword]; harmless == nil || !harmless(was, is) {
		s.add(path, "%s: was %s, is %s", keyword, shown(was), shown(is))
	}
}

func shown(value any) string {
	if value == nil {
		return "not there"
	}
	return fmt.Sprint(value)
}

// number returns a JSON number, which may have been decoded as an integer or a float.
func number(value any) float64 {
	switch n := value.(type) {
	case int64:
		return float64(n)
	case float64:
		return n
	}
	return 0
}
