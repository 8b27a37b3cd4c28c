#!/bin/sh
# Test the JVM functions with sbt for both Scala versions; skip where neither sbt nor Maven is.
set -eu
launcher=org.scala-sbt:sbt-launch:1.11.7

if command -v sbt >/dev/null 2>&1; then
    exec sbt +test
fi
if ! command -v mvn >/dev/null 2>&1; then
    echo "sbt tests skipped: neither sbt nor Maven (which would fetch $launcher) is installed."
    exit 0
fi
jar=build/sbt/sbt-launch.jar
if [ ! -f $jar ]; then
    mvn -B -q dependency:get -Dartifact=$launcher -Dtransitive=false
    mvn -B -q dependency:copy -Dartifact=$launcher -DoutputDirectory=build/sbt -Dmdep.stripVersion=true
fi
exec java -jar $jar +test
