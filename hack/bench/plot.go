package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
)

// plotArgument makes this command measure at several sizes, and write the values and a drawing of them. drawArgument
// makes it draw what was measured before.
const (
	plotArgument = "plot"
	drawArgument = "draw"
)

// sizes are the numbers of keys at which costs are measured.
var sizes = []int{10, 1_000, 10_000, 100_000}

// plot measures at each size, on a cluster of its own, and draws the result.
func plot(ctx context.Context, bin string, scale float64, data, drawing string) error {
	costs := make([]clusterCost, 0, len(sizes))
	for _, n := range sizes {
		bed := &testbed{bin: bin, scale: scale, results: &resultList{}}
		f, err := bed.measureFilled(ctx, bed.times(n), filledRounds)
		if closing := bed.close(); err == nil {
			err = closing
		}
		if err != nil {
			return fmt.Errorf("%d keys: %w", n, err)
		}
		fmt.Printf("%d keys: %+v\n", n, f)
		costs = append(costs, f)
		// If a size fails, those before it are still worth keeping.
		content, err := json.MarshalIndent(costs, "", "  ")
		if err != nil {
			return err
		}
		if err := os.WriteFile(data, append(content, '\n'), 0o644); err != nil {
			return err
		}
	}
	return redraw(data, drawing)
}

// redraw draws the values of a file.
func redraw(data, drawing string) error {
	content, err := os.ReadFile(data)
	if err != nil {
		return err
	}
	var costs []clusterCost
	if err := json.Unmarshal(content, &costs); err != nil {
		return fmt.Errorf("%s: %w", data, err)
	}
	return os.WriteFile(drawing, []byte(drawingOf(costs)), 0o644)
}

// curve is a name, and the value for each size.
type curve struct {
	name string
	of   func(clusterCost) float64
}

// chart is one part of the drawing: curves over the number of keys, both axes logarithmic.
type chart struct {
	title    string
	low, top int // the range of values, as powers of ten
	curves   []curve
}

var charts = []chart{
	{"resident memory, MiB", 1, 4, []curve{
		{"verifier", func(f clusterCost) float64 { return f.Verifier.Memory }},
		{"verifier, peak", func(f clusterCost) float64 { return f.Verifier.Peak }},
		{"controller, peak", func(f clusterCost) float64 { return f.Controller.Peak }},
		{"kube-apiserver", func(f clusterCost) float64 { return f.APIServer }},
	}},
	{"start until ready, s", -2, 2, []curve{
		{"verifier", func(f clusterCost) float64 { return f.Verifier.Wall }},
		{"bare list", func(f clusterCost) float64 { return f.List.Wall }},
		{"controller, all keys looked at", func(f clusterCost) float64 { return f.Controller.Wall }},
	}},
	{"CPU of a start, s", -2, 2, []curve{
		{"verifier", func(f clusterCost) float64 { return f.Verifier.CPU }},
		{"bare list", func(f clusterCost) float64 { return f.List.CPU }},
		{"controller", func(f clusterCost) float64 { return f.Controller.CPU }},
	}},
	{"etcd's file, MiB", 0, 4, []curve{
		{"etcd", func(f clusterCost) float64 { return f.Etcd }},
	}},
}

const (
	chartWidth, chartHeight = 440, 300
	marginLeft, marginTop   = 56, 32
	plotWidth, plotHeight   = 360, 210
	lowestKeys, highestKeys = 1, 5 // powers of ten
)

var colours = []string{"#1b6ca8", "#d1495b", "#3a7d44", "#8a6d3b"}

// drawingOf returns the charts as SVG.
func drawingOf(costs []clusterCost) string {
	var b strings.Builder
	fmt.Fprintf(&b,
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n",
		2*chartWidth, 2*chartHeight)
	b.WriteString(`<rect width="100%" height="100%" fill="white"/>` + "\n")
	for i, c := range charts {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", i%2*chartWidth, i/2*chartHeight)
		c.frame(&b)
		for j, drawn := range c.curves {
			c.line(&b, j, drawn, costs)
		}
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// x and y return the position of a number of keys and of a value.
func (c chart) x(keys float64) float64 {
	return marginLeft + plotWidth*(math.Log10(keys)-lowestKeys)/(highestKeys-lowestKeys)
}

func (c chart) y(value float64) float64 {
	power := min(max(math.Log10(max(value, 1e-9)), float64(c.low)), float64(c.top))
	return marginTop + plotHeight*(1-(power-float64(c.low))/float64(c.top-c.low))
}

// frame draws the title and the grid.
func (c chart) frame(b *strings.Builder) {
	fmt.Fprintf(b, `<text x="%d" y="20" font-size="13" font-weight="bold">%s</text>`+"\n", marginLeft, c.title)
	for power := c.low; power <= c.top; power++ {
		y := c.y(math.Pow10(power))
		fmt.Fprintf(b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#ddd"/>`+"\n", marginLeft, y, marginLeft+plotWidth,
			y)
		fmt.Fprintf(b, `<text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n", marginLeft-6, y+4,
			strconv.FormatFloat(math.Pow10(power), 'f', -1, 64))
	}
	for power := lowestKeys; power <= highestKeys; power++ {
		x := c.x(math.Pow10(power))
		fmt.Fprintf(b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#ddd"/>`+"\n", x, marginTop, x,
			marginTop+plotHeight)
		fmt.Fprintf(b, `<text x="%.1f" y="%d" text-anchor="middle">%.0f</text>`+"\n", x, marginTop+plotHeight+16,
			math.Pow10(power))
	}
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">ApiKeys</text>`+"\n", marginLeft+plotWidth/2,
		marginTop+plotHeight+32)
}

// line draws the n-th curve and its name.
func (c chart) line(b *strings.Builder, n int, drawn curve, costs []clusterCost) {
	points := make([]string, len(costs))
	for i, f := range costs {
		points[i] = fmt.Sprintf("%.1f,%.1f", c.x(float64(f.Keys)), c.y(drawn.of(f)))
	}
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "),
		colours[n])
	fmt.Fprintf(b, `<text x="%d" y="%d" fill="%s">%s</text>`+"\n", marginLeft+8, marginTop+14+14*n, colours[n], drawn.name)
}
