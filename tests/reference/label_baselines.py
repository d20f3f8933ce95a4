"""Plain twins of the baselines that ask for labels or groups: loops, float64, no cleverness."""

import math


def grouping(images, features, labels):
    """Return [(image, group, questions so far)] of asking "same as this group?", best cosine first."""
    members, found, questions = [], [], 0
    for image in images:
        own = [float(value) for value in features[image]]

        def cosine(group, own=own):
            mean = [sum(features[m][d] for m in members[group]) for d in range(len(own))]
            length = math.sqrt(sum(value * value for value in mean))
            return sum(a * b for a, b in zip(mean, own, strict=True)) / length

        for group in sorted(range(len(members)), key=cosine, reverse=True):
            questions += 1
            if labels[members[group][0]] == labels[image]:
                members[group].append(image)
                found.append((image, group, questions))
                break
        else:
            members.append([image])
            found.append((image, len(members) - 1, questions))
    return found


def class_margin(logits):
    """Return the largest softmax probability minus the second largest."""
    exponentials = sorted(math.exp(float(value) - max(map(float, logits))) for value in logits)
    return (exponentials[-1] - exponentials[-2]) / sum(exponentials)


def densest(points, clusters, width):
    """Return of each cluster the row of least mean squared distance to it in the RBF kernel's space."""

    def squared_distance(a, b):
        gap = sum((float(x) - float(y)) ** 2 for x, y in zip(points[a], points[b], strict=True))
        return 2 - 2 * math.exp(-gap / (2 * width * width))

    chosen = []
    for cluster in sorted(set(clusters)):
        members = [row for row in range(len(points)) if clusters[row] == cluster]
        costs = [sum(squared_distance(a, b) for b in members) / len(members) for a in members]
        chosen.append(members[costs.index(min(costs))])
    return sorted(chosen)


def cross_entropy(logits, classes):
    """Return the mean cost of the rows with a class that is not negative."""
    costs = []
    for row, label in zip(logits, classes, strict=True):
        if label >= 0:
            largest = max(map(float, row))
            total = math.log(sum(math.exp(float(value) - largest) for value in row)) + largest
            costs.append(total - float(row[label]))
    return sum(costs) / len(costs)
