/** A small bar chart, drawn with SVG. */

const SVG = "http://www.w3.org/2000/svg";
const [HEIGHT, LEFT, TOP, FOOT] = [176, 46, 12, 20];

function draw(name, attributes, children = []) {
  const element = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) element.setAttribute(attribute, value);
  element.append(...children);
  return element;
}

/**
 * Bars for `points`, `[{label, value}, …]`, `width` CSS pixels wide; `written(value)` is how values are read, `name`
 * what they are.
 */
export function barChart(points, { written, name, width }) {
  const most = niceCeiling(Math.max(...points.map(({ value }) => value), 0));
  const step = (width - LEFT) / points.length;
  const height = (value) => (most === 0 ? 0 : (value / most) * (HEIGHT - TOP - FOOT));
  const bars = points.map(({ label, value }, i) => {
    const tall = value > 0 ? Math.max(height(value), 2) : 0;
    const place = { x: LEFT + i * step + step * 0.15, y: HEIGHT - FOOT - tall, width: step * 0.7, height: tall, rx: 2 };
    return draw("rect", place, [draw("title", {}, [`${label}: ${written(value)}`])]);
  });
  const lines = [0, 0.5, 1].flatMap((part) => {
    const y = HEIGHT - FOOT - part * (HEIGHT - TOP - FOOT);
    const text = draw("text", { x: LEFT - 8, y: y + 4, "text-anchor": "end" }, [written(most * part)]);
    return most === 0 && part > 0 ? [] : [draw("line", { class: "grid", x1: LEFT, x2: width, y1: y, y2: y }), text];
  });
  const ends = [
    draw("text", { x: LEFT, y: HEIGHT - 4 }, [points[0].label]),
    draw("text", { x: width, y: HEIGHT - 4, "text-anchor": "end" }, [points.at(-1).label]),
  ];
  const total = points.reduce((sum, { value }) => sum + value, 0);
  const label = `${name} by day: ${written(total)} in all, at most ${written(Math.max(...points.map((p) => p.value), 0))} a day`;
  const box = { class: "chart", viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": label };
  return draw("svg", box, [...lines, ...bars, ...ends]);
}

/** 1, 2 or 5 times a power of ten, and no less than `value`. */
function niceCeiling(value) {
  if (value === 0) return 0;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((times) => times * power).find((nice) => nice >= value);
}
