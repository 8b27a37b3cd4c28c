// The JVM functions of spark_ctr: `sbt +test` compiles and tests them against Spark 3.5 and 4.0.
// Users need no sbt: jvm_udfs/build_jar.py builds the jar with the compiler that ships in pyspark.

name := "spark-ctr"
organization := "io.github.spark-ctr"
version := """__version__ = "(.+)"""".r
  .findFirstMatchIn(IO.read(file("spark_ctr/version.py"))).get.group(1)

crossScalaVersions := Seq("2.12.18", "2.13.16")
scalaVersion := "2.13.16"

val sparkVersion = settingKey[String]("Spark to compile against, one per Scala version")
sparkVersion := (if (scalaBinaryVersion.value == "2.12") "3.5.9" else "4.0.1")

// Sources live beside the Python package, so the root project has no folder of its own.
sourcesInBase := false
sourceDirectory := baseDirectory.value / "jvm_udfs" / "src"
target := baseDirectory.value / "jvm_udfs" / "target"

libraryDependencies ++= Seq(
  "org.apache.spark" %% "spark-mllib" % sparkVersion.value % Provided,
  "org.apache.spark" %% "spark-sql" % sparkVersion.value % Provided,
  "org.scalatest" %% "scalatest-funsuite" % "3.2.19" % Test,
  "org.scalatest" %% "scalatest-shouldmatchers" % "3.2.19" % Test
)

scalacOptions ++= Seq("-deprecation", "-feature", "-unchecked", "-Xlint", "-release", "8")

// Spark needs these packages opened since Java 17; the list is Spark's own JavaModuleOptions.
Test / fork := true
Test / parallelExecution := false
Test / javaOptions ++= Seq("-Xmx1g", "-Djdk.reflect.useDirectMethodHandle=false") ++ Seq(
  "java.lang", "java.lang.invoke", "java.lang.reflect", "java.io", "java.net", "java.nio",
  "java.util", "java.util.concurrent", "java.util.concurrent.atomic", "sun.nio.ch",
  "sun.nio.cs", "sun.security.action", "sun.util.calendar"
).map(p => s"--add-opens=java.base/$p=ALL-UNNAMED")
