// Geometry of the map: from boxes in degrees or another unit to a plane; and the background below the tiles.

export const TURN = 360;
const MOST_LATITUDE = 85.0511; // where Web Mercator ends
const STEPS = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30];

// A plane for boxes float64[4 n]. In degrees, x repeats with every turn of the Earth; y is Mercator's, or the latitude
// for archives that extend beyond Mercator's limits.
export function makePlane(boxes, inDegrees, mustBeMercator) {
  let farthest = 0;
  for (let at = 0; at < boxes.length; at += 4) {
    if (!Number.isNaN(boxes[at])) farthest = Math.max(farthest, Math.abs(boxes[at + 1]), Math.abs(boxes[at + 3]));
  }
  const isMercator = inDegrees && (mustBeMercator || farthest < 80);
  return { turns: inDegrees ? [-TURN, 0, TURN] : [0], inDegrees, isMercator, y: isMercator ? mercator : (y) => y,
    latitude: isMercator ? (y) => Math.atan(Math.sinh(y * Math.PI / 180)) * 180 / Math.PI : (y) => y };
}

function mercator(latitude) {
  const clipped = Math.max(-MOST_LATITUDE, Math.min(MOST_LATITUDE, latitude)) * Math.PI / 180;
  return Math.asinh(Math.tan(clipped)) * 180 / Math.PI;
}

// Boxes on the plane, float64[4 n]: left, bottom, right, top. In degrees they start after the widest gap between
// tiles, so that an archive across the 180th meridian stays in one piece.
export function onPlane(boxes, plane) {
  const placed = new Float64Array(boxes.length);
  const west = plane.inDegrees ? widestGap(boxes) : 0;
  for (let at = 0; at < boxes.length; at += 4) {
    const turn = plane.inDegrees ? TURN * Math.floor(((boxes[at] + boxes[at + 2]) / 2 - west) / TURN) : 0;
    placed[at] = boxes[at] - turn;
    placed[at + 1] = plane.y(boxes[at + 1]);
    placed[at + 2] = boxes[at + 2] - turn;
    placed[at + 3] = plane.y(boxes[at + 3]);
  }
  return placed;
}

// The longitude in the middle of the widest gap between tiles.
function widestGap(boxes) {
  const middles = [];
  for (let at = 0; at < boxes.length; at += 4) {
    if (!Number.isNaN(boxes[at])) middles.push((((boxes[at] + boxes[at + 2]) / 2) % TURN + TURN + 180) % TURN - 180);
  }
  middles.sort((one, other) => one - other);
  let [width, west] = [0, -180];
  for (let place = 0; place < middles.length; place += 1) {
    const next = place + 1 < middles.length ? middles[place + 1] : middles[0] + TURN;
    if (next - middles[place] > width) [width, west] = [next - middles[place], (next + middles[place]) / 2];
  }
  return width < 20 ? -180 : west; // tiles all around: the usual map
}

export function extentOf(placed) {
  const extent = [Infinity, Infinity, -Infinity, -Infinity];
  for (let at = 0; at < placed.length; at += 4) {
    if (Number.isNaN(placed[at])) continue;
    for (const side of [0, 1]) extent[side] = Math.min(extent[side], placed[at + side]);
    for (const side of [2, 3]) extent[side] = Math.max(extent[side], placed[at + side]);
  }
  return extent;
}

// A point is inside when a ray from it crosses the outline an odd number of times.
export function isInside([x, y], outline) {
  let inside = false;
  for (let place = 0, before = outline.length - 1; place < outline.length; before = place, place += 1) {
    const [one, other] = [outline[place], outline[before]];
    if (one[1] > y !== other[1] > y && x < (other[0] - one[0]) * (y - one[1]) / (other[1] - one[1]) + one[0]) inside = !inside;
  }
  return inside;
}

// The background. `at` maps a point of the plane to pixels, `seen` is the part of the plane in view.
export function drawCoasts(pen, coasts, plane, at, colour) {
  pen.strokeStyle = colour;
  pen.lineWidth = 1;
  pen.beginPath();
  for (const turn of plane.turns) {
    for (const line of coasts) {
      for (let place = 0; place < line.length; place += 2) {
        const [x, y] = at(line[place] / 10 + turn, plane.y(line[place + 1] / 10));
        if (place) pen.lineTo(x, y);
        else pen.moveTo(x, y);
      }
    }
  }
  pen.stroke();
}

export function drawGrid(pen, plane, at, seen, [width, height], { line, text }) {
  const step = STEPS.find((one) => (seen[2] - seen[0]) / one <= 8) || 60;
  const decimals = step < 1 ? Math.ceil(-Math.log10(step)) : 0;
  pen.strokeStyle = line;
  pen.fillStyle = text;
  pen.lineWidth = 0.5;
  pen.font = "11px system-ui, sans-serif";
  pen.beginPath();
  for (let east = Math.ceil(seen[0] / step) * step; east <= seen[2]; east += step) {
    const [x] = at(east, 0);
    pen.moveTo(x, 0);
    pen.lineTo(x, height);
    const turned = ((east + 180) % TURN + TURN) % TURN - 180;
    pen.fillText(degrees(turned, "WE", decimals), x + 3, height - 5);
  }
  const [south, north] = [plane.latitude(seen[1]), plane.latitude(seen[3])];
  for (let up = Math.ceil(Math.max(-90, south) / step) * step; up <= Math.min(90, north); up += step) {
    const [, y] = at(0, plane.y(up));
    pen.moveTo(0, y);
    pen.lineTo(width, y);
    pen.fillText(degrees(up, "SN", decimals), 4, y - 3);
  }
  pen.stroke();
}

function degrees(value, letters, decimals) {
  const letter = Math.abs(value) < 1e-9 || letters === "WE" && Math.abs(value) === 180 ? "" : letters[Number(value > 0)];
  return `${Math.abs(value).toFixed(decimals)}°${letter}`;
}

// Tiles of a map server in Web Mercator, requested only if its address was given at the start.
export function drawBasemap(pen, address, pictureOf, at, seen, scale) {
  const zoom = Math.max(0, Math.min(19, Math.round(Math.log2(scale * TURN / 256))));
  const count = 2 ** zoom;
  const side = TURN / count;
  const [left, right] = [Math.floor((seen[0] + 180) / side), Math.floor((seen[2] + 180) / side)];
  const [top, bottom] = [Math.max(0, Math.floor((180 - seen[3]) / side)), Math.min(count - 1, Math.floor((180 - seen[1]) / side))];
  for (let column = left; column <= right; column += 1) {
    for (let row = top; row <= bottom; row += 1) {
      const numbers = { x: ((column % count) + count) % count, y: row, z: zoom };
      const picture = pictureOf(address.replace(/\{([xyz])\}/g, (_, name) => numbers[name]));
      const [x, y] = at(column * side - 180, 180 - row * side);
      if (picture) pen.drawImage(picture, x, y, side * scale + 0.5, side * scale + 0.5);
    }
  }
}
