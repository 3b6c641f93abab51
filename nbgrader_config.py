"""Settings for `nbgrader ...` and formgrader, run from here; `course` reads them too.

The class folder is $COURSE_CLASS, or `class/` beside this file.
"""

import os
import sys

from autograder.grading.hand_log import keep_log

c = get_config()  # noqa: F821, the reader of this file provides it

# nbgrader calls `alembic` by name when it makes a gradebook: the one beside this Python is meant,
# also where the environment is not activated.
SCRIPTS = os.path.dirname(sys.executable)
if SCRIPTS not in os.environ.get("PATH", os.defpath).split(os.pathsep):
    os.environ["PATH"] = os.pathsep.join([SCRIPTS, os.environ.get("PATH", os.defpath)])

CLASS = os.environ.get("COURSE_CLASS") or os.path.join(os.path.dirname(__file__), "class")
c.CourseDirectory.root = os.path.abspath(CLASS)
keep_log(c.CourseDirectory.root)  # who gave which mark, and when
c.CourseDirectory.course_id = "policy-gradient-course"
# Several TAs at once need more than the SQLite file in the folder: a server, such as
# postgresql://ta@db.example.edu/course, in $COURSE_GRADEBOOK or here. It is for this folder alone.
if os.environ.get("COURSE_GRADEBOOK"):
    c.CourseDirectory.db_url = os.environ["COURSE_GRADEBOOK"]

# An unwritten answer raises NotImplementedError with its own name; that line stands in the source
# notebook behind the solution (handouts/sources.py), so nothing more is put in its place here.
c.ClearSolutions.code_stub = {"python": "# YOUR CODE HERE"}
c.ClearSolutions.text_stub = "YOUR ANSWER HERE"
# Mark schemes stand in locked cells: cleared for students, given back to whoever grades.
c.ClearMarkScheme.enforce_metadata = False

# What being late costs: percent of the points for each day begun, after so many minutes of grace.
c.AssignLatePenalties.plugin_class = "autograder.grading.late.PercentPerDay"
c.PercentPerDay.percent = 0
c.PercentPerDay.grace_minutes = 0

c.Execute.timeout = 120
# Marks stay in the class folder, which is not committed.
c.ExportPlugin.to = os.path.join(c.CourseDirectory.root, "grades.csv")
